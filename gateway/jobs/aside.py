"""Jobs that wait because an input file cannot be had where it lies: they are tried again after a while, so often and no
more. Meanwhile they stand in no line: none of them holds a slot, or anybody up, its own client's next jobs included."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.jobs.job import Job
from gateway.jobs.registry import Registry
from gateway.jobs.states import JobState

PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0, 30.0)  # seconds before each further try: a runner may restart meanwhile


class Aside:
    """``on_back`` is called whenever a job stands in the line again."""

    def __init__(self, registry: Registry, on_back: Callable[[], None]) -> None:
        self._registry = registry
        self._on_back = on_back
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._timers

    def put(self, job: Job) -> bool:
        """Sets a PENDING job aside after one more failure. Returns False if it has been tried often enough."""
        job.input_failures += 1
        if job.input_failures > len(PAUSES):
            return False
        self._registry.step_aside(job)
        pause = PAUSES[job.input_failures - 1]
        self._timers[job.id] = asyncio.get_running_loop().call_later(pause, self._back, job)
        return True

    def close(self) -> None:
        """Nobody comes back any more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _back(self, job: Job) -> None:
        self._timers.pop(job.id, None)
        if self._registry.get(job.id) is job and job.state is JobState.PENDING:
            self._registry.step_back(job)
            self._on_back()
