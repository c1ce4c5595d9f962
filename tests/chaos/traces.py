"""What one client may be told of one job, as a table. Pure: a list of message types in, the first fault out.

    the client has heard      and hears                      then
    ----------------------    ---------------------------    ---------
    nothing                   execution_start                BEGUN
    nothing                   execution_error, _interrupted  TOLD: the gateway ended a job that no runner has begun
    BEGUN                     execution_cached               RUNNING
    BEGUN, RUNNING            a node, progress, an output    RUNNING
    BEGUN, RUNNING            a terminal message             TOLD
    TOLD                      executing, node null           DONE
    DONE                      anything                       a fault

A lost attempt begins the trace again: BEGUN or RUNNING, execution_start, BEGUN; not more often than attempts were lost.
A *gap* (the client's socket was gone) may swallow any number of messages: after it every message is legal, and what is
replayed draws the job again. Of a job that is DONE only the end may come again, after a gap: its outputs, the terminal
message, DONE. Nobody can know whether the client has heard it before.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Heard(StrEnum):
    NOTHING = "nothing"
    BEGUN = "begun"
    RUNNING = "running"
    TOLD = "told"
    TOLD_AGAIN = "told again"
    DONE = "done"


GAP = "(gap)"
DONE = "done"  # ``executing`` with ``node: null``
START = "execution_start"
WORK = frozenset({"executing", "progress", "progress_state", "executed", "progress_text"})
TERMINALS = frozenset({"execution_success", "execution_error", "execution_interrupted"})

H = Heard
TABLE: dict[tuple[Heard, str], Heard] = {
    (H.NOTHING, START): H.BEGUN,
    (H.NOTHING, "execution_error"): H.TOLD,
    (H.NOTHING, "execution_interrupted"): H.TOLD,
    (H.BEGUN, "execution_cached"): H.RUNNING,
    **{(state, kind): H.RUNNING for state in (H.BEGUN, H.RUNNING) for kind in WORK},
    **{(state, kind): H.TOLD for state in (H.BEGUN, H.RUNNING) for kind in TERMINALS},
    (H.TOLD, DONE): H.DONE,
    (H.TOLD_AGAIN, "executed"): H.TOLD_AGAIN,
    **{(H.TOLD_AGAIN, kind): H.TOLD for kind in TERMINALS},
}
AFTER_GAP: dict[str, Heard] = {
    START: H.BEGUN,
    "execution_cached": H.RUNNING,
    **dict.fromkeys(WORK, H.RUNNING),
    **dict.fromkeys(TERMINALS, H.TOLD),
    DONE: H.DONE,
}


AFTER_DONE_AND_GAP: dict[str, Heard] = {
    "executed": H.TOLD_AGAIN,
    **dict.fromkeys(TERMINALS, H.TOLD),
    DONE: H.DONE,
}


def fault_in(trace: Iterable[str], *, lost: int = 0, whole: bool = True) -> str | None:
    """What is wrong with a trace, None if nothing.

    Args:
        trace: message types in order; DONE for the end, GAP where the client was away.
        lost: how many of the job's attempts were lost.
        whole: the trace must reach its end, unless there is a gap in it.
    """
    state, after_gap, had_gap, restarts = H.NOTHING, False, False, 0
    for place, kind in enumerate(trace):
        if kind == GAP:
            after_gap = had_gap = True
            continue
        becomes = TABLE.get((state, kind))
        if becomes is None and kind == START and state in (H.BEGUN, H.RUNNING) and (restarts < lost or after_gap):
            becomes, restarts = H.BEGUN, restarts + (not after_gap)
        if becomes is None and after_gap:
            becomes = (AFTER_DONE_AND_GAP if state is H.DONE else AFTER_GAP).get(kind)
        if becomes is None:
            return f"message {place}: {kind} when it had heard {state.value}"
        state, after_gap = becomes, False
    if whole and not had_gap and state is not H.DONE:
        return f"stops when it had heard {state.value}"
    return None
