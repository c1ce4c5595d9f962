"""What each owner has among the live jobs: which, how many that clients see, which of them runners have. These are
counted as jobs change, since an owner's share of ten thousand jobs must not cost a walk through all of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from gateway.jobs.job import Job

HOUSE = "gateway:house"  # owns the jobs that the gateway runs for itself; no token can have an owner of that form
NOTHING: Collection[Job] = ()


@dataclass(slots=True)
class _Share:
    """One owner's part. ``held`` are the ids of the jobs that take a slot of a runner."""

    jobs: dict[str, Job] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    visible: int = 0


class Owners:
    """The shares of those who have live jobs; an owner without any takes no room."""

    def __init__(self) -> None:
        self._shares: dict[str, _Share] = {}

    def joined(self, job: Job, *, is_visible: bool) -> None:
        """A job is alive from now on."""
        share = self._shares.setdefault(job.owner, _Share())
        share.jobs[job.id] = job
        share.visible += is_visible

    def turned(self, job: Job, *, visible: int) -> None:
        """A job came into sight (1), went out of it (-1), or neither (0)."""
        self._shares[job.owner].visible += visible

    def left(self, job: Job) -> None:
        """A job is not alive any more."""
        share = self._shares[job.owner]
        del share.jobs[job.id]
        share.held.discard(job.id)
        if not share.jobs:
            del self._shares[job.owner]

    def holds(self, job: Job, *, takes_a_slot: bool) -> None:
        """A runner has the job, or has it no more. Told twice, the second time changes nothing."""
        share = self._shares.get(job.owner)
        if share is None or job.id not in share.jobs:
            return
        if takes_a_slot:
            share.held.add(job.id)
        else:
            share.held.discard(job.id)

    def jobs_of(self, owner: str) -> Collection[Job]:
        """An owner's jobs, those included that are being submitted."""
        share = self._shares.get(owner)
        return NOTHING if share is None else share.jobs.values()

    def visible_of(self, owner: str) -> int:
        """How many of an owner's jobs clients see."""
        share = self._shares.get(owner)
        return 0 if share is None else share.visible

    def held_of(self, owner: str) -> Collection[str]:
        """The ids of an owner's jobs that take a slot of a runner."""
        share = self._shares.get(owner)
        return () if share is None else share.held
