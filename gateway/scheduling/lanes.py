"""Jobs that run one at a time: which lanes are free. A lane is one client's; the jobs that wait in it stand in the
waiting line, where none of them may go while the lane is held, and else the one that is due first.

A lane is held by every job of its client that a runner has, also by those that themselves need not wait for others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Set

Lane = tuple[str, str]  # owner and client id


class Lanes:
    """Who holds which lane."""

    def __init__(self) -> None:
        self._holders: defaultdict[Lane, set[str]] = defaultdict(set)

    def take(self, lane: Lane, job_id: str) -> None:
        """The job is given to a runner. Told twice, the second time changes nothing."""
        self._holders[lane].add(job_id)

    def leave(self, lane: Lane, job_id: str) -> None:
        """No runner has the job any more, or yet."""
        self._holders[lane].discard(job_id)
        if not self._holders[lane]:
            del self._holders[lane]

    def holders(self, lane: Lane) -> Set[str]:
        """The jobs that hold the lane; it is free when there are none."""
        return self._holders.get(lane, frozenset())
