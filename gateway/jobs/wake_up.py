"""The dispatcher's one timer: when it is to look at the line again though nothing has happened. That is when a runner's
next slot opens, and where a runner idles, when those that wait may have waited for long enough.

    state   what happens                                      then
    off     a look ends in waiting that time alone may end    set, for the first moment that may
    set     another look ends in waiting                      moved to its moment
    set     a look finds that only events matter now          off
    set     its moment comes                                  off, and a look is made, which may set it
    any     closed                                            off
"""

from __future__ import annotations

import math
from collections.abc import Callable

from gateway.clock import Alarm, Clock

LEAST_SECONDS = 0.001  # timers are no finer


class WakeUp:
    """Calls ``look`` when its moment comes, by the clock that it is given."""

    def __init__(self, clock: Clock, look: Callable[[], None]) -> None:
        self._clock = clock
        self._look = look
        self._alarm: Alarm | None = None
        self._due = math.inf

    def move(self, seconds: float) -> None:
        """A look has found that the next one is due in so many seconds; infinite for never."""
        due = self._clock.monotonic() + max(LEAST_SECONDS, seconds)
        if self._alarm is not None and abs(due - self._due) < LEAST_SECONDS:
            return
        self.off()
        if not math.isinf(due):
            self._due, self._alarm = due, self._clock.call_later(due - self._clock.monotonic(), self._ring)

    def off(self) -> None:
        """No look is due."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm, self._due = None, math.inf

    def _ring(self) -> None:
        self._alarm, self._due = None, math.inf
        self._look()
