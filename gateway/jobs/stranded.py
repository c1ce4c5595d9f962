"""Accepted jobs that wait and that no runner of the pool could ever take: which jobs are to be looked at, and when.

A job can get there when it comes back to the line (its runner was asked although by the catalogues it did not fit, or
it was the only one), and when runners, their tags or their catalogues change."""

from __future__ import annotations

from gateway.jobs.job import Attempt, Job
from gateway.jobs.registry import Registry
from gateway.jobs.states import JobState


class Suspects:
    """The waiting jobs that may be stranded. It is a Watcher of the registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._returned: set[str] = set()
        self._pool: object = None
        registry.watchers.append(self)

    def job_turned(self, job: Job, was: JobState) -> None:
        """See Watcher."""
        if job.state is JobState.PENDING and was is not JobState.SUBMITTING:
            self._returned.add(job.id)

    def attempt_turned(self, attempt: Attempt, was: object, reason: str) -> None:
        """See Watcher."""

    def take(self, pool: object) -> list[Job]:
        """Those to be looked at now: all that wait if the ``pool`` is another one than the last time, else those that
        have come back, or need something else, since."""
        returned, self._returned = self._returned | self._registry.redrawn, set()
        self._registry.redrawn.clear()
        if pool != self._pool:
            self._pool = pool
            return self._registry.shown(JobState.PENDING)
        jobs = (self._registry.get(job_id) for job_id in returned)
        return [job for job in jobs if job is not None and job.state is JobState.PENDING]
