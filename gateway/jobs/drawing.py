"""What jobs need and what kind they are, drawn from their graphs by the pool's catalogue; and drawn anew when that has
changed. Who acts on it is the dispatcher."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import islice
from typing import Any

from gateway.jobs.job import Job
from gateway.jobs.registry import VISIBLE, Registry
from gateway.jobs.scheduler import Scheduler
from gateway.runners.pool import Pool, Version
from gateway.scheduling.needs import Needs, needs_of
from gateway.scheduling.profile import UNKNOWN, profile_of

DRAWN_AT_ONCE = 10  # graphs whose needs are drawn anew before others have their turn; a few milliseconds
DRAWING_PAUSE_SECONDS = 0.005  # between them, so that at most half of the time goes into it
DRAWING_DELAY_SECONDS = 0.25  # before the first of them: where runners come or go, there is more urgent work


class Drawing:
    """Draws needs and kinds. ``on_change`` is called when waiting jobs turned out to need something else."""

    def __init__(self, registry: Registry, pool: Pool, scheduler: Scheduler, on_change: Callable[[], None]) -> None:
        self._registry = registry
        self._pool = pool
        self._scheduler = scheduler
        self._on_change = on_change
        self._drawn_by: tuple[Version, set[str]] = ((), set())  # catalogues, and owners with runners of their own
        self._undrawn: dict[str, None] = {}  # jobs whose needs are by an older catalogue, in their order
        self._task: asyncio.Task[None] | None = None

    def needs(self, prompt: dict[str, Any], tags: frozenset[str], owner: str = "") -> Needs:
        """What a graph needs, by the pool's catalogue."""
        is_reserved = bool(owner) and any(owner in runner.config.reserved_for for runner in self._pool)
        return needs_of(prompt, tags, self._pool.catalogue(), owner if is_reserved else "")

    def appraise(self, job: Job) -> None:
        """Draws from a job's graph what kind of job it is, and so how long it is expected to take."""
        job.profile = profile_of(job.prompt, self._pool.catalogue())
        job.work = self._scheduler.work(job)

    def pool_changed(self) -> None:
        """Which inputs are combos is told by the catalogue: when it changes, so may what jobs need. Thousands may wait:
        the one that is about to be given out is looked at before it is, the others bit by bit. A runner that comes or
        goes and knows what others know changes nothing."""
        drawn_by = (self._pool.version, {owner for runner in self._pool for owner in runner.config.reserved_for})
        if drawn_by == self._drawn_by:
            return
        self._drawn_by = drawn_by
        self._undrawn = dict.fromkeys(job.id for job in self._registry.shown(*VISIBLE))
        if self._undrawn and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._draw_the_others())

    def is_another(self, job_id: str) -> bool:
        """Whether the job, drawn by today's catalogue, has other needs than it was thought to have."""
        if job_id not in self._undrawn:
            return False
        del self._undrawn[job_id]
        job = self._registry.get(job_id)
        return job is not None and self.again(job)

    def again(self, job: Job) -> bool:
        """Draws a job's needs once more; whether they are others than they were by the catalogue of that time."""
        needs = self.needs(job.prompt, job.needs.tags, job.owner)
        if needs == job.needs and job.profile is not UNKNOWN:
            return False
        job.needs = needs
        self.appraise(job)
        self._registry.needs_changed([job])
        return True

    async def close(self) -> None:
        """What has not been drawn anew stays as it is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _draw_the_others(self) -> None:
        await asyncio.sleep(DRAWING_DELAY_SECONDS)
        while self._undrawn:
            some = list(islice(self._undrawn, DRAWN_AT_ONCE))
            changed = [job_id for job_id in some if self.is_another(job_id)]
            if changed:
                self._on_change()
            await asyncio.sleep(DRAWING_PAUSE_SECONDS)
