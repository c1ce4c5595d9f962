"""How a client is told of jobs that run in parallel, and who decides it. What a mode does lives elsewhere: the telling
in `focus`, the running one at a time in `gateway.scheduling.lanes`.

    mode     its jobs run       it is told
    RAW      in parallel        everything at once, as it comes
    FOCUS    in parallel        one job after the other
    SERIAL   one at a time      one job after the other
"""

from __future__ import annotations

from enum import StrEnum

AUTO = "auto"


class Mode(StrEnum):
    """See the table at the top of this module."""

    RAW = "raw"
    FOCUS = "focus"
    SERIAL = "serial"


def mode_of(asked: str | None, configured: str, *, has_flags: bool) -> Mode:
    """The mode of a client.

    Args:
        asked: ``mode`` in the query of its websocket; what is no mode counts as not asked.
        configured: ``sessions.mode`` in the configuration: a mode, or ``auto``.
        has_flags: whether the client has sent ``feature_flags``, as the stock frontend does, which can show one running
            job at a time only; scripts tell jobs apart by their id.
    """
    if asked in set(Mode):
        return Mode(asked)
    if configured != AUTO:
        return Mode(configured)
    return Mode.FOCUS if has_flags else Mode.RAW
