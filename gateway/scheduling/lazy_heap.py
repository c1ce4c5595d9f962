"""A heap of names whose keys change: a key that has grown is noticed when its name comes to the top."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any


class LazyHeap:
    """Finds the name with the smallest key, in O(log n) amortised.

    ``key`` gives a name's key now, None once it is gone. Keys may grow at any time; one that shrinks has to be offered
    again.
    """

    def __init__(self, key: Callable[[str], tuple[Any, ...] | None]) -> None:
        self._key = key
        self._entries: list[tuple[tuple[Any, ...], str]] = []
        self._newest: dict[str, tuple[Any, ...]] = {}

    def offer(self, name: str) -> None:
        """A name is new, or its key has shrunk."""
        key = self._key(name)
        known = self._newest.get(name)
        if key is not None and (known is None or key < known):
            self._newest[name] = key
            heapq.heappush(self._entries, (key, name))

    def top(self, is_out: Callable[[str], bool] | None = None) -> str | None:
        """The name with the smallest key, those passed over that are out for now."""
        passed = []
        found = None
        while self._entries:
            key, name = self._entries[0]
            current = self._key(name) if self._newest.get(name) == key else None
            if current is None:
                heapq.heappop(self._entries)
                if self._newest.get(name) == key:
                    del self._newest[name]
            elif current != key:
                self._newest[name] = current
                heapq.heapreplace(self._entries, (current, name))
            elif is_out is not None and is_out(name):
                passed.append(heapq.heappop(self._entries))
            else:
                found = name
                break
        for entry in passed:
            heapq.heappush(self._entries, entry)
        return found
