"""The jobs that wait for a runner, in the order in which they are due: priority, then the fair share of owners and of
their clients, then `number` within a client as ComfyUI orders them, then age."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass

from sortedcontainers import SortedKeyList

from gateway.scheduling.fairness import Shares
from gateway.scheduling.kinds import Flow, Kind, KindKey
from gateway.scheduling.lanes import Lane, Lanes
from gateway.scheduling.needs import Needs
from gateway.scheduling.snapshot import Due, Line

STALE_PART = 100  # a place in a long line may lag behind by one such part of it


@dataclass(frozen=True, slots=True)
class Waiting:
    """One waiting job: ``number`` orders as in ComfyUI (lower first), ``seq`` breaks ties by age.

    ``refused_by`` names the runners that have refused it although another had validated it. A job in a ``lane`` waits
    until the lane is free, and for those that are due before it there. ``work`` is how many seconds it is expected to
    take a runner of speed 1; ``since`` when it began to wait, in monotonic seconds.
    """

    job_id: str
    number: float
    seq: int
    needs: Needs
    refused_by: frozenset[str] = frozenset()
    lane: Lane | None = None
    owner: str = ""
    client: str = ""
    priority: int = 0
    weight: float = 1.0
    work: float = 1.0
    since: float = 0.0

    @property
    def due(self) -> tuple[float, int]:
        """The order among the jobs of one client."""
        return (self.number, self.seq)

    @property
    def flow(self) -> Flow:
        """Whose share of the pool it takes."""
        return (self.owner, self.client)


Ordered = SortedKeyList[Waiting, tuple[float, int]]


class WaitingLine:
    """All waiting jobs in order; the first one that fits a runner is found by kind of needs, not by a walk through all.

    Adding, removing and asking for the first cost O(log n) for each kind. ``take`` and ``leave`` tell it which jobs
    hold lanes. ``may_start`` tells of an owner whether one more of its jobs may be given out now. Whoever gives a job
    to a runner charges its owner and client in ``shares``.
    """

    def __init__(self) -> None:
        self.shares = Shares()
        self.may_start: Callable[[str], bool] = lambda owner: True
        self._by_id: dict[str, Waiting] = {}
        self._flows: dict[int, dict[Flow, Ordered]] = {}  # by priority; everyone, also who may not go
        self._kinds: dict[KindKey, Kind] = {}  # those that may go
        self._lanes = Lanes()
        self._in_lanes: dict[Lane, Ordered] = {}
        self._heads: dict[Lane, Waiting] = {}  # of the free lanes
        self._changes = 0
        self._order: dict[str, int] = {}
        self._order_of = -1

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._by_id

    def __iter__(self) -> Iterator[Waiting]:
        """In the order in which they are due as things stand now: those who come later may change it."""
        for priority in sorted(self._flows, reverse=True):
            flows = self._flows[priority]
            yield from next(iter(flows.values())) if len(flows) == 1 else self._merged(flows)

    def get(self, job_id: str) -> Waiting | None:
        """A waiting job."""
        return self._by_id.get(job_id)

    def add(self, waiting: Waiting) -> None:
        """Puts a job into the line. Raises ValueError if it stands there already."""
        if waiting.job_id in self._by_id:
            raise ValueError(f"job {waiting.job_id} waits already")
        self._by_id[waiting.job_id] = waiting
        self._changes += 1
        self.shares.enter(*waiting.flow)
        flows = self._flows.setdefault(waiting.priority, {})
        if waiting.flow not in flows:
            flows[waiting.flow] = SortedKeyList(key=_due)
        flows[waiting.flow].add(waiting)
        if waiting.lane is None:
            self._stand(waiting)
        else:
            self._in_lanes.setdefault(waiting.lane, SortedKeyList(key=_due)).add(waiting)
            self._look_at(waiting.lane)

    def remove(self, job_id: str) -> bool:
        """Takes a job out. Returns whether it stood there."""
        waiting = self._by_id.pop(job_id, None)
        if waiting is None:
            return False
        self._changes += 1
        flows = self._flows[waiting.priority]
        flows[waiting.flow].remove(waiting)
        if not flows[waiting.flow]:
            del flows[waiting.flow]
            if not flows:
                del self._flows[waiting.priority]
        if waiting.lane is None:
            self._step_out(waiting)
        else:
            self._in_lanes[waiting.lane].remove(waiting)
            self._look_at(waiting.lane)
        self.shares.leave(*waiting.flow)
        return True

    def give_out(self, job_id: str, now: float) -> bool:
        """As ``remove``, for a job that a runner is given: its kind is served ``now``, in monotonic seconds."""
        waiting = self._by_id.get(job_id)
        if waiting is None:
            return False
        kind = self._kinds.get(_kind_of(waiting))
        if kind is not None:
            kind.served_at = now
        return self.remove(job_id)

    def first(self, fits: Callable[[Needs, frozenset[str]], bool]) -> Waiting | None:
        """The job that is due first among those whose kind ``fits``."""
        heads = (
            head for kind in self._kinds.values() if fits(kind.needs, kind.refused_by) and (head := self._head(kind))
        )
        found = min(heads, key=lambda head: head[0], default=None)
        return None if found is None else found[1]

    def lines(self, now: float, runners_for: Callable[[Needs, frozenset[str]], frozenset[str]]) -> tuple[Line, ...]:
        """The lines of those that may go, in the order of their heads; ``now`` is in monotonic seconds."""
        found = []
        for kind in self._kinds.values():
            head = self._head(kind)
            if head is not None:
                due, waiting = head
                found.append(
                    Line(
                        head=waiting.job_id,
                        due=due,
                        models=kind.needs.models,
                        runners=runners_for(kind.needs, kind.refused_by),
                        count=kind.count,
                        work=kind.work,
                        head_work=waiting.work,
                        unserved=now - max(waiting.since, kind.served_at),
                        owner=waiting.owner,
                    )
                )
        found.sort(key=lambda line: line.due)
        return tuple(found)

    def needs(self) -> Iterator[Needs]:
        """What those that may go need, kind by kind."""
        return (kind.needs for kind in self._kinds.values())

    def position(self, job_id: str) -> int | None:
        """How many jobs are due before this one; None if it does not wait. In a long line that changes all the time it
        may lag behind a little."""
        waiting = self._by_id.get(job_id)
        if waiting is None:
            return None
        if len(self._flows) == 1 and len(flows := self._flows[waiting.priority]) == 1:
            return flows[waiting.flow].index(waiting)
        if job_id not in self._order or self._changes - self._order_of > len(self) // STALE_PART:
            self._order = {each.job_id: place for place, each in enumerate(self)}
            self._order_of = self._changes
        return self._order[job_id]

    # lanes

    def take(self, lane: Lane, job_id: str) -> None:
        """The job is given to a runner: none of its lane may go."""
        self._lanes.take(lane, job_id)
        self._look_at(lane)

    def leave(self, lane: Lane, job_id: str) -> None:
        """No runner has the job."""
        self._lanes.leave(lane, job_id)
        self._look_at(lane)

    def holders(self, lane: Lane) -> Set[str]:
        """The jobs of the lane that a runner has."""
        return self._lanes.holders(lane)

    def is_busy(self, lane: Lane) -> bool:
        """Whether a job that comes now has to wait for others of its lane."""
        return bool(self.holders(lane)) or lane in self._in_lanes

    def is_held_back(self, job_id: str) -> bool:
        """Whether a waiting job waits for others of its lane, and not for a runner."""
        waiting = self._by_id.get(job_id)
        return waiting is not None and waiting.lane is not None and self._heads.get(waiting.lane) is not waiting

    def _look_at(self, lane: Lane) -> None:
        """Lets the one that may go stand among its kind, and nobody else of the lane."""
        if lane in self._in_lanes and not self._in_lanes[lane]:
            del self._in_lanes[lane]
        line = self._in_lanes.get(lane)
        head = line[0] if line and not self.holders(lane) else None
        was = self._heads.pop(lane, None)
        if was is not None and was is not head:
            self._step_out(was)
        if head is not None:
            self._heads[lane] = head
            if was is not head:
                self._stand(head)

    # kinds

    def _stand(self, waiting: Waiting) -> None:
        key = _kind_of(waiting)
        if key not in self._kinds:
            self._kinds[key] = Kind(*key, self.shares)
        self._kinds[key].add(waiting)

    def _step_out(self, waiting: Waiting) -> None:
        kind = self._kinds[_kind_of(waiting)]
        kind.remove(waiting)
        if not kind.count:
            del self._kinds[_kind_of(waiting)]

    def _head(self, kind: Kind) -> tuple[Due, Waiting] | None:
        return kind.head(self.may_start)

    def _merged(self, flows: dict[Flow, Ordered]) -> Iterator[Waiting]:
        """The order in which flows of one priority would be served if their jobs took what they are expected to."""
        clients: dict[str, list[tuple[float, float, int, str, int]]] = {}
        owners: list[tuple[float, tuple[float, float, int, str, int], str]] = []
        for (owner, client), line in flows.items():
            _, tag = self.shares.tags(owner, client)
            clients.setdefault(owner, []).append((tag, *line[0].due, client, 0))
        for owner, heap in clients.items():
            heapq.heapify(heap)
            owners.append((self.shares.tags(owner, heap[0][3])[0], heap[0], owner))
        heapq.heapify(owners)
        while owners:
            owner_tag, (tag, _, _, client, index), owner = owners[0]
            line = flows[owner, client]
            yield (waiting := line[index])
            heap, share = clients[owner], waiting.work / waiting.weight
            if index + 1 < len(line):
                heapq.heapreplace(heap, (tag + share, *line[index + 1].due, client, index + 1))
            else:
                heapq.heappop(heap)
            if heap:
                heapq.heapreplace(owners, (owner_tag + share, heap[0], owner))
            else:
                heapq.heappop(owners)


def _kind_of(waiting: Waiting) -> KindKey:
    return (waiting.needs, waiting.refused_by, waiting.priority)


def _due(waiting: Waiting) -> tuple[float, int]:
    return waiting.due
