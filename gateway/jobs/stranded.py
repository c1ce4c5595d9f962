"""Jobs that wait and that no runner of the pool could ever take end: they would wait for nothing.

A job can get there when it comes back to the line (its runner was asked although by the catalogues it did not fit, or
it was the only one), and when runners, their tags or their catalogues change."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.jobs.drawing import Drawing
from gateway.jobs.endings import Endings
from gateway.jobs.job import Attempt, Job
from gateway.jobs.registry import Registry
from gateway.jobs.states import JobState
from gateway.scheduling import placement
from gateway.scheduling.needs import Needs
from gateway.scheduling.placement import Judge, RunnerView

NOT_REFUSED: frozenset[tuple[str, str]] = frozenset()


class Stranded:
    """Finds and ends them. It is a Watcher of the registry."""

    def __init__(self, registry: Registry, endings: Endings, judge: Judge, drawing: Drawing) -> None:
        self._registry = registry
        self._endings = endings
        self._judge = judge
        self._drawing = drawing
        self._returned: set[str] = set()
        self._pool: object = None
        registry.watchers.append(self)

    def job_turned(self, job: Job, was: JobState) -> None:
        """See Watcher."""
        if job.state is JobState.PENDING and was is not JobState.SUBMITTING:
            self._returned.add(job.id)

    def attempt_turned(self, attempt: Attempt, was: object, reason: str) -> None:
        """See Watcher."""

    def end(self, pool: object, views_now: Callable[[], Sequence[RunnerView]]) -> None:
        """Ends those that are stranded in the pool as it is now. ``pool`` tells whether it is another one than the last
        time; ``views_now`` is asked only where there are jobs to be looked at."""
        views: Sequence[RunnerView] = ()
        known: dict[tuple[Needs, frozenset[tuple[str, str]]], str | None] = {}
        for job in self._suspects(pool):
            views = views or views_now()
            kind = (job.needs, frozenset(job.refused_by.items()) if job.refused_by else NOT_REFUSED)
            if kind not in known:
                known[kind] = placement.stranded(job.needs, views, self._judge, job.refused_by)
            reasons = known[kind]
            if reasons is not None and self._drawing.again(job):
                reasons = placement.stranded(job.needs, views, self._judge, job.refused_by)
            if reasons is None or not job.is_in(JobState.PENDING):
                continue
            if job.was_accepted:
                self._endings.failed(job, "NoRunner", f"No runner can run the prompt any more. {reasons}")
            else:
                self._endings.forgotten(job, f"no runner can run it: {reasons}")

    def _suspects(self, pool: object) -> list[Job]:
        """Those to be looked at now: all that wait if the ``pool`` is another one than the last time, else those that
        have come back, or need something else, since."""
        returned, self._returned = self._returned | self._registry.redrawn, set()
        self._registry.redrawn.clear()
        if pool != self._pool:
            self._pool = pool
            return self._registry.shown(JobState.PENDING)
        jobs = (self._registry.get(job_id) for job_id in returned)
        return [job for job in jobs if job is not None and job.state is JobState.PENDING]
