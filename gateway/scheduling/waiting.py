"""The jobs that wait for a runner, in the order in which they are due."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass

from sortedcontainers import SortedKeyList

from gateway.scheduling.lanes import Lane, Lanes
from gateway.scheduling.needs import Needs


@dataclass(frozen=True, slots=True)
class Waiting:
    """One waiting job: ``number`` orders as in ComfyUI (lower first), ``seq`` breaks ties by age.

    ``refused_by`` names the runners that have refused it although another had validated it. A job in a ``lane`` waits
    until the lane is free, and for those that are due before it there.
    """

    job_id: str
    number: float
    seq: int
    needs: Needs
    refused_by: frozenset[str] = frozenset()
    lane: Lane | None = None

    @property
    def due(self) -> tuple[float, int]:
        """The key of the order."""
        return (self.number, self.seq)


Kind = tuple[Needs, frozenset[str]]
Ordered = SortedKeyList[Waiting, tuple[float, int]]


class WaitingLine:
    """All waiting jobs in order; the first one that fits a runner is found by kind of needs, not by a walk through all.

    Adding, removing and asking for a position cost O(log n). ``take`` and ``leave`` tell it which jobs hold lanes.
    """

    def __init__(self) -> None:
        self._by_id: dict[str, Waiting] = {}
        self._all: Ordered = SortedKeyList(key=_due)
        self._kinds: dict[Kind, Ordered] = {}  # those that may go
        self._lanes = Lanes()
        self._in_lanes: dict[Lane, Ordered] = {}
        self._heads: dict[Lane, Waiting] = {}  # of the free lanes

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._by_id

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._all)

    def add(self, waiting: Waiting) -> None:
        """Puts a job into the line. Raises ValueError if it stands there already."""
        if waiting.job_id in self._by_id:
            raise ValueError(f"job {waiting.job_id} waits already")
        self._by_id[waiting.job_id] = waiting
        self._all.add(waiting)
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
        self._all.remove(waiting)
        if waiting.lane is None:
            self._step_out(waiting)
        else:
            self._in_lanes[waiting.lane].remove(waiting)
            self._look_at(waiting.lane)
        return True

    def first(self, fits: Callable[[Needs, frozenset[str]], bool]) -> Waiting | None:
        """The job that is due first among those whose kind ``fits``."""
        heads = (line[0] for kind, line in self._kinds.items() if fits(*kind))
        return min(heads, key=_due, default=None)

    def position(self, job_id: str) -> int | None:
        """How many jobs are due before this one; None if it does not wait."""
        waiting = self._by_id.get(job_id)
        return None if waiting is None else self._all.index(waiting)

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
        kind = (waiting.needs, waiting.refused_by)
        if kind not in self._kinds:
            self._kinds[kind] = SortedKeyList(key=_due)
        self._kinds[kind].add(waiting)

    def _step_out(self, waiting: Waiting) -> None:
        kind = (waiting.needs, waiting.refused_by)
        self._kinds[kind].remove(waiting)
        if not self._kinds[kind]:
            del self._kinds[kind]


def _due(waiting: Waiting) -> tuple[float, int]:
    return waiting.due
