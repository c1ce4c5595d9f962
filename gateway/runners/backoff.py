"""How long a runner that fails again and again is left alone: pure, time is passed in."""

from __future__ import annotations

import math

EXPONENT_MOST = 16  # further doublings make no difference


class Backoff:
    """Doubles the pause with every failure, from ``first`` to ``most`` seconds.

    The first failure costs no pause: a runner that has restarted is back at once. After a pause the next call is a
    trial (*half-open*): ``is_on_trial`` until ``succeeded``.
    """

    def __init__(self, first: float, most: float) -> None:
        self._first = first
        self._most = most
        self._failures = 0
        self._until = -math.inf

    @property
    def is_on_trial(self) -> bool:
        """True from the second failure in a row until a success."""
        return self._failures > 1

    def failed(self, now: float) -> None:
        """One more failure; ``now`` in monotonic seconds."""
        self._failures += 1
        if self._failures > 1:
            pause = self._first * 2 ** min(self._failures - 2, EXPONENT_MOST)
            self._until = now + min(pause, self._most)

    def succeeded(self) -> None:
        """It works again."""
        self._failures = 0
        self._until = -math.inf

    def remaining(self, now: float) -> float:
        """Seconds until the next try; 0 when it is due."""
        return max(0.0, self._until - now)
