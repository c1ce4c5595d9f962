"""Telling a runner whose worker is dead from one that works on something long.

HTTP and the websocket of ComfyUI live in another thread than its worker, so a runner whose worker has died answers as
if nothing had happened. What shows it: it has work, its queue does not move, and its running job tells nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from gateway.clock import Clock


@dataclass(slots=True)
class _Seen:
    """What a runner ran when its queue was last looked at, and when that last changed or a job told something."""

    running: frozenset[str]
    moved_at: float


class Watchdog:
    """Knows since when each runner has made no progress. Times are monotonic seconds."""

    def __init__(self, clock: Clock, *, stuck_seconds: float) -> None:
        self._clock = clock
        self._stuck_seconds = stuck_seconds
        self._seen: dict[str, _Seen] = {}

    def told(self, runner: str) -> None:
        """A message of a job came from this runner: its worker is alive."""
        seen = self._seen.get(runner)
        if seen is not None:
            seen.moved_at = self._clock.monotonic()

    def watches(self, runner: str) -> bool:
        """Whether the runner had work when its queue was last looked at."""
        return runner in self._seen

    def look(self, runner: str, running: Collection[str], pending: Collection[str]) -> str | None:
        """Takes in a runner's queue; returns why the runner is stuck, None if it is not.

        The queue moves when another job runs. Pending ones that come and go are no sign of that: clients and the
        gateway itself add them and take them back.
        """
        if not running and not pending:
            self._seen.pop(runner, None)
            return None
        now = self._clock.monotonic()
        seen = self._seen.get(runner)
        if seen is None or seen.running != frozenset(running):
            seen = self._seen[runner] = _Seen(frozenset(running), now)
        idle = now - seen.moved_at
        if idle < self._stuck_seconds:
            return None
        return f"stuck: no progress for {idle:.0f} s, {len(running)} running, {len(pending)} pending"
