"""Cancelling, interrupting and deleting: each hits exactly the job that it names, wherever that job stands.

the job is      delete, clear                       cancel, interrupt
pending         dropped, no trace                   cancel drops it; interrupt leaves it alone
on a runner,    taken back from the runner;         cancel: taken back, interrupted if it has just begun
not begun       one that has just begun goes on     interrupt leaves it alone
running         goes on                             interrupted on its runner; the runner tells the end
ended           nothing                             nothing
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence

from gateway.jobs.dispatch import Dispatcher
from gateway.jobs.endings import Endings
from gateway.jobs.job import Attempt, Job
from gateway.jobs.registry import Registry
from gateway.jobs.states import AttemptState, JobState

DROPPED_AT_ONCE = 100  # jobs; some milliseconds


class Control:
    """What clients do to jobs that have not ended. It is written down before they are answered: a gateway that is
    killed right after the answer carries it out in its next life. Methods raise StorageError where it could not be."""

    def __init__(self, registry: Registry, dispatcher: Dispatcher, endings: Endings) -> None:
        self._registry = registry
        self._dispatcher = dispatcher
        self._endings = endings

    async def delete(self, jobs: Iterable[Job]) -> None:
        """Takes jobs that have not begun out of the queue; others go on."""
        found = list(jobs)
        await self._drop_the_waiting(found, "deleted by its client")
        on_runners = [job for job in found if job.is_in(JobState.DISPATCHED)]
        for job in on_runners:
            job.delete_requested = True
        await self._registry.store_wishes(on_runners)
        await asyncio.gather(*(self._obeyed(job.attempt) for job in on_runners if job.attempt is not None))

    async def _obeyed(self, attempt: Attempt) -> bool:
        """Carries out what a client has asked for; where somebody else is at it already, returns when that is over."""
        obeyed = await self._dispatcher.obey(attempt)
        await self._dispatcher.withdrawn(attempt.job)
        return obeyed

    async def _drop_the_waiting(self, jobs: Sequence[Job], reason: str) -> int:
        """Before anything is done to the others: none of these is to fill a slot that one of them leaves. Returns how
        many there were."""
        dropped = 0
        for some in batched(jobs, DROPPED_AT_ONCE):
            waiting = [job for job in some if job.is_in(JobState.PENDING)]
            self._endings.all_dropped(waiting, reason)
            dropped += len(waiting)
            await asyncio.sleep(0)  # thousands may be named: others have their turn meanwhile
        return dropped

    async def cancel_all(self, jobs: Iterable[Job]) -> bool:
        """Cancels several jobs at once (``POST /api/jobs/cancel``). Returns whether any had not ended by itself."""
        found = list(jobs)
        dropped = await self._drop_the_waiting(found, "cancelled by its client")
        if dropped:
            await self._registry.store_wishes(())
        return any(await asyncio.gather(*(self.cancel(job) for job in found))) or dropped > 0

    async def cancel(self, job: Job) -> bool:
        """Ends a job whatever it does (``POST /api/jobs/{id}/cancel``). Returns False if it had ended by itself."""
        if job.is_in(JobState.PENDING):
            self._endings.dropped(job, "cancelled by its client")
            await self._registry.store_wishes(())
            return True
        attempt = job.attempt
        if attempt is None or not job.is_in(JobState.DISPATCHED, JobState.RUNNING):
            return False
        if attempt.is_closing or attempt.terminal is not None:
            return False
        job.cancel_requested = True
        await self._registry.store_wishes([job])
        if attempt.state is AttemptState.POSTING:
            return True  # the dispatch under way sees it when its runner has answered
        obeyed = await self._obeyed(attempt)
        return obeyed or attempt.is_interrupted or job.is_in(JobState.CANCELLED)  # reconciling may have been faster

    async def interrupt(self, jobs: Iterable[Job]) -> None:
        """Interrupts those of the jobs that are running; others are left alone, as by ComfyUI's ``/interrupt``."""
        await asyncio.gather(*(self.cancel(job) for job in list(jobs) if job.is_in(JobState.RUNNING)))


def batched(jobs: Sequence[Job], size: int) -> Iterator[Sequence[Job]]:
    """The jobs in their order, so many at a time."""
    return (jobs[start : start + size] for start in range(0, len(jobs), size))
