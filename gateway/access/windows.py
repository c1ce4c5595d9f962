"""Moving windows for the rate limits, in bounded memory.

The limits and the strategy are those of the library `limits`. Its own storage in memory keeps a name for every address
that ever came, and walks through all of them up to a hundred times a second.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from math import ceil

from limits import RateLimitItem
from limits.storage import MovingWindowSupport, Storage
from limits.strategies import MovingWindowRateLimiter

HITS_MOST = 1_000_000  # kept in all; about 40 bytes each


class Windows(Storage, MovingWindowSupport):
    """When each key was used. Past ``most`` hits the key that was unused for the longest time is forgotten. Raises
    nothing."""

    STORAGE_SCHEME = None  # not to be had by a URL

    def __init__(self, now: Callable[[], float], most: int = HITS_MOST) -> None:
        super().__init__()
        self._now = now
        self._most = most
        self._hits: OrderedDict[str, deque[float]] = OrderedDict()  # the key that was hit last comes last
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Counts ``amount`` uses of a key, unless that would be more than ``limit`` within ``expiry`` seconds."""
        if len(self._within(key, self._now() - expiry)) + amount > limit:
            return False
        self.incr(key, expiry, amount)
        return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the window of a key began, and how often it was used since."""
        now = self._now()
        hits = self._within(key, now - expiry)
        return (hits[0] if hits else now), len(hits)

    # What the library asks of every storage.

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """There are none."""
        return ()

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Counts uses of a key, however many there were; returns how many there are."""
        hits = self._hits.setdefault(key, deque())
        hits.extend([self._now()] * amount)
        self._count += amount
        self._hits.move_to_end(key)
        while self._count > self._most:
            self._count -= len(self._hits.popitem(last=False)[1])
        return len(hits)

    def get(self, key: str) -> int:
        """How many uses of a key are remembered."""
        return len(self._hits.get(key, ()))

    def get_expiry(self, key: str) -> float:
        """When a key was used first, of what is remembered."""
        hits = self._hits.get(key)
        return hits[0] if hits else self._now()

    def check(self) -> bool:
        """It is there."""
        return True

    def reset(self) -> int:
        """Forgets everything; returns how many keys there were."""
        keys, self._count = len(self._hits), 0
        self._hits.clear()
        return keys

    def clear(self, key: str) -> None:
        """Forgets a key."""
        self._count -= len(self._hits.pop(key, ()))

    def _within(self, key: str, since: float) -> deque[float]:
        """The uses of a key since then; older ones are forgotten, and the key with its last one."""
        hits = self._hits.get(key)
        if hits is None:
            return deque()
        while hits and hits[0] <= since:
            hits.popleft()
            self._count -= 1
        if not hits:
            del self._hits[key]
        return hits


class Rates:
    """Counts uses, and says how long to wait. ``now`` is a clock in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic, most: int = HITS_MOST) -> None:
        self._now = now
        self._limiter = MovingWindowRateLimiter(Windows(now, most))

    def hit(self, most: RateLimitItem, key: str) -> bool:
        """Counts one use of a key, unless it is one too many."""
        return self._limiter.hit(most, key)

    def may_hit(self, most: RateLimitItem, key: str) -> bool:
        """Whether one more use would be counted."""
        return self._limiter.test(most, key)

    def wait_seconds(self, most: RateLimitItem, key: str) -> int:
        """How long a key that was used too often has to wait, in whole seconds from 1."""
        return max(ceil(self._limiter.get_window_stats(most, key).reset_time - self._now()), 1)
