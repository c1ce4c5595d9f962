"""Waiting jobs of one kind: the same needs, refusals and priority, so any of them could go in another one's place.
Which of them is due first is a matter of fair shares."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from sortedcontainers import SortedKeyList

from gateway.scheduling.fairness import Shares
from gateway.scheduling.lazy_heap import LazyHeap
from gateway.scheduling.needs import Needs
from gateway.scheduling.snapshot import Due

if TYPE_CHECKING:
    from gateway.scheduling.waiting import Waiting

Flow = tuple[str, str]  # owner and client
KindKey = tuple[Needs, frozenset[str], int]


class Kind:
    """The jobs of a kind by owner and client, as two levels of heaps by their fair shares."""

    def __init__(self, needs: Needs, refused_by: frozenset[str], priority: int, shares: Shares) -> None:
        self.needs = needs
        self.refused_by = refused_by
        self.priority = priority
        self.served_at = -math.inf  # monotonic seconds
        self.count = 0
        self.work = 0.0
        self._shares = shares
        self._lines: dict[Flow, SortedKeyList[Waiting, tuple[float, int]]] = {}
        self._clients: dict[str, LazyHeap] = {}
        self._owners = LazyHeap(self._key_of_owner)

    def add(self, waiting: Waiting) -> None:
        """Puts a job among its client's."""
        if waiting.flow not in self._lines:
            self._lines[waiting.flow] = SortedKeyList(key=lambda waiting: waiting.due)
        line = self._lines[waiting.flow]
        line.add(waiting)
        self.count += 1
        self.work += waiting.work
        if line[0] is not waiting:
            return  # its client is due when it was before
        owner = waiting.owner
        if owner not in self._clients:
            self._clients[owner] = LazyHeap(lambda client: self._key_of_client(owner, client))
        self._clients[owner].offer(waiting.client)
        self._owners.offer(owner)

    def remove(self, waiting: Waiting) -> None:
        """Takes a job out."""
        line = self._lines[waiting.flow]
        line.remove(waiting)
        self.count -= 1
        self.work -= waiting.work
        if not line:
            del self._lines[waiting.flow]

    def head(self, may_start: Callable[[str], bool]) -> tuple[Due, Waiting] | None:
        """The job that is due first among the owners that may start one, with what orders it among other kinds."""
        owner = self._owners.top(lambda owner: not may_start(owner))
        client = None if owner is None else self._clients[owner].top()
        if owner is None or client is None:
            return None
        waiting = self._lines[owner, client][0]
        return (-self.priority, *self._shares.tags(owner, client), *waiting.due), waiting

    def _key_of_client(self, owner: str, client: str) -> tuple[float, float, int] | None:
        line = self._lines.get((owner, client))
        return (self._shares.tags(owner, client)[1], *line[0].due) if line else None

    def _key_of_owner(self, owner: str) -> tuple[float, float, float, int] | None:
        client = self._clients[owner].top()
        if client is None:
            del self._clients[owner]
            return None
        key = self._key_of_client(owner, client)
        return None if key is None else (self._shares.tags(owner, client)[0], *key)
