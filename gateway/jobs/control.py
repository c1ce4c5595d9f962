"""Cancelling, interrupting and deleting: each hits exactly the job that it names, wherever that job stands.

the job is      delete, clear                       cancel, interrupt
pending         dropped, no trace                   cancel drops it; interrupt leaves it alone
on a runner,    taken back from the runner;         cancel: taken back, interrupted if it has just begun
not begun       one that has just begun goes on     interrupt leaves it alone
running         goes on                             interrupted on its runner; the runner tells the end
ended           nothing                             nothing
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from gateway.jobs.dispatch import Dispatcher
from gateway.jobs.endings import Endings
from gateway.jobs.job import Job
from gateway.jobs.registry import Registry
from gateway.jobs.states import AttemptState, JobState
from gateway.runners.errors import RunnerError
from gateway.runners.pool import Pool

log = structlog.get_logger(__name__)


class Control:
    """What clients do to jobs that have not ended."""

    def __init__(self, registry: Registry, pool: Pool, dispatcher: Dispatcher, endings: Endings) -> None:
        self._registry = registry
        self._pool = pool
        self._dispatcher = dispatcher
        self._endings = endings

    async def delete(self, jobs: Iterable[Job]) -> None:
        """Takes jobs that have not begun out of the queue; others go on."""
        for job in list(jobs):
            await self._remove_unstarted(job)

    async def cancel(self, job: Job) -> bool:
        """Ends a job whatever it does (``POST /api/jobs/{id}/cancel``). Returns False if it had ended by itself."""
        if job.is_in(JobState.RUNNING):
            return await self._interrupt(job)
        if await self._remove_unstarted(job):
            return True
        if job.is_in(JobState.RUNNING):
            return await self._interrupt(job)
        return job.cancel_requested

    async def interrupt(self, jobs: Iterable[Job]) -> None:
        """Interrupts those of the jobs that are running; others are left alone, as by ComfyUI's ``/interrupt``."""
        for job in list(jobs):
            if job.state is JobState.RUNNING:
                await self._interrupt(job)

    async def _remove_unstarted(self, job: Job) -> bool:
        """Returns whether the job is gone, or will be as soon as its runner answers."""
        if job.state is JobState.PENDING:
            self._endings.dropped(job, "deleted by its client")
            return True
        attempt = job.attempt
        if attempt is None or not job.is_in(JobState.DISPATCHED):
            return False
        job.cancel_requested = True
        if attempt.state is AttemptState.POSTING:
            return True  # the dispatch under way sees it when its runner has answered
        await self._dispatcher.withdraw(attempt)
        if job.is_in(JobState.RUNNING):
            job.cancel_requested = False  # it had begun: a deletion does not touch it
            return False
        return True

    async def _interrupt(self, job: Job) -> bool:
        attempt = job.attempt
        if attempt is None or attempt.is_closing or attempt.terminal is not None:
            return False  # it has just ended: an interrupt now could hit the next one
        job.cancel_requested = True
        runner = self._pool.get(attempt.runner)
        if runner is None:
            return True
        try:
            if runner.has_jobs_api:
                reply = await runner.client.request("POST", f"/api/jobs/{attempt.runner_prompt_id}/cancel")
                return reply.status == 200 and bool(reply.json().get("cancelled"))
            await runner.client.request("POST", "/interrupt", json={"prompt_id": attempt.runner_prompt_id})
        except RunnerError as error:
            log.warning("job.interrupt_not_delivered", job=job.id, runner=runner.name, reason=error.reason)
            runner.suspect(error.reason)
        return True
