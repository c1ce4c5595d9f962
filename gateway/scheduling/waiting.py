"""The jobs that wait for a runner, in the order in which they are due."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sortedcontainers import SortedKeyList

from gateway.scheduling.needs import Needs


@dataclass(frozen=True, slots=True)
class Waiting:
    """One waiting job: ``number`` orders as in ComfyUI (lower first), ``seq`` breaks ties by age.

    ``refused_by`` names the runners that have refused it although another had validated it.
    """

    job_id: str
    number: float
    seq: int
    needs: Needs
    refused_by: frozenset[str] = frozenset()

    @property
    def due(self) -> tuple[float, int]:
        """The key of the order."""
        return (self.number, self.seq)


Kind = tuple[Needs, frozenset[str]]


class WaitingLine:
    """All waiting jobs in order; the first one that fits a runner is found by kind of needs, not by a walk through all.

    Adding, removing and asking for a position cost O(log n).
    """

    def __init__(self) -> None:
        self._by_id: dict[str, Waiting] = {}
        self._all: SortedKeyList[Waiting, tuple[float, int]] = SortedKeyList(key=_due)
        self._kinds: dict[Kind, SortedKeyList[Waiting, tuple[float, int]]] = {}

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
        kind = (waiting.needs, waiting.refused_by)
        if kind not in self._kinds:
            self._kinds[kind] = SortedKeyList(key=_due)
        self._kinds[kind].add(waiting)

    def remove(self, job_id: str) -> bool:
        """Takes a job out. Returns whether it stood there."""
        waiting = self._by_id.pop(job_id, None)
        if waiting is None:
            return False
        self._all.remove(waiting)
        kind = (waiting.needs, waiting.refused_by)
        self._kinds[kind].remove(waiting)
        if not self._kinds[kind]:
            del self._kinds[kind]
        return True

    def first(self, fits: Callable[[Needs, frozenset[str]], bool]) -> Waiting | None:
        """The job that is due first among those whose kind ``fits``."""
        heads = (line[0] for kind, line in self._kinds.items() if fits(*kind))
        return min(heads, key=_due, default=None)

    def position(self, job_id: str) -> int | None:
        """How many jobs are due before this one; None if it does not wait."""
        waiting = self._by_id.get(job_id)
        return None if waiting is None else self._all.index(waiting)


def _due(waiting: Waiting) -> tuple[float, int]:
    return waiting.due
