"""A pool in virtual time: jobs arrive, a policy says where each goes, runners load models and work. No gateway."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

AHEAD, TICK = "ahead", "tick"  # events: a worker is about to be free; workers wait although jobs do
NOW = 1e-9  # seconds: less is no time


@dataclass(frozen=True)
class Workload:
    """A column of the table. Speeds are relative, durations seconds at speed 1; `load` is how much of the pool's speed
    the jobs take without loading; models are used in proportion to 1, 1/2, 1/3 …"""

    models: int
    kept: int
    load: float
    speeds: tuple[float, ...] = (1.0,) * 4 + (0.5,) * 4
    load_seconds: float = 8.0
    shortest: float = 1.0
    longest: float = 3.0
    jobs: int = 3000

    def arrivals(self, seed: int) -> list[Job]:
        """The same jobs for every policy."""
        rng = random.Random(seed)
        popularity = [1 / (rank + 1) for rank in range(self.models)]
        rate = sum(self.speeds) / ((self.shortest + self.longest) / 2) * self.load
        now, jobs = 0.0, []
        for number in range(self.jobs):
            now += rng.expovariate(rate)
            work = rng.uniform(self.shortest, self.longest)
            model = rng.choices(range(self.models), popularity)[0]
            jobs.append(Job(f"{number:05}", now, work, frozenset({f"model-{model:02}"})))
        return jobs


@dataclass(slots=True, eq=False)
class Job:
    """One prompt; `started` and `ended` are filled in."""

    id: str
    arrived: float
    work: float
    models: frozenset[str]
    owner: str = ""
    started: float = math.nan
    ended: float = math.nan
    loaded: float = 0.0


@dataclass(slots=True, eq=False)
class Worker:
    """A runner: one job at a time, models kept by least recent use."""

    name: str
    speed: float
    kept: int
    warm: list[str] = field(default_factory=list)
    queue: deque[Job] = field(default_factory=deque)
    running: Job | None = None
    free_at: float = 0.0
    loads: int = 0
    overhead: float = 0.0  # seconds that every job takes longer than its work
    since_forced: float = math.inf  # seconds of work since it last loaded for an overdue line

    @property
    def held(self) -> int:
        """What it has to do."""
        return len(self.queue) + (self.running is not None)

    def begin(self, now: float, loads: dict[str, float]) -> Job | None:
        """Starts the next of its queue."""
        if self.running is not None or not self.queue:
            return None
        job = self.running = self.queue.popleft()
        missing = [model for model in sorted(job.models) if model not in self.warm]
        job.loaded = sum(loads[model] for model in missing)
        self.loads += len(missing)
        self.warm = [model for model in self.warm if model not in job.models] + sorted(job.models)
        self.warm = self.warm[-max(self.kept, len(job.models)) :]
        job.started = now
        self.free_at = now + job.loaded + job.work / self.speed + self.overhead
        self.since_forced += self.free_at - now - job.loaded
        return job


class Policy(Protocol):
    """Says where jobs go. `arrived` hears of each job once; `place` is asked after every event until it has no more.
    Where `lead` is not 0, that many seconds before a worker is free is an event too."""

    lead: float

    def arrived(self, job: Job, pool: Pool) -> None:
        """A job comes."""

    def place(self, pool: Pool) -> tuple[Job, Worker] | None:
        """The next job to give out, and to whom."""


class Pool:
    """The workers and the clock."""

    def __init__(self, speeds: Sequence[float], kept: int, loads: dict[str, float], *, overhead: float = 0.0) -> None:
        self.workers = [Worker(f"gpu-{number}", speed, kept, overhead=overhead) for number, speed in enumerate(speeds)]
        self.loads = loads
        self.now = 0.0

    def run(self, jobs: Sequence[Job], policy: Policy, *, tick: float = 1.0, until: float = math.inf) -> None:
        """Until every job has ended, or some time. Where workers wait although jobs do, the policy is asked again after
        a `tick`."""
        events: list[tuple[float, int, int, Job | Worker | str]] = [
            (job.arrived, 0, number, job) for number, job in enumerate(jobs)
        ]
        heapq.heapify(events)
        open_jobs, waiting, number, ticking = len(jobs), 0, len(jobs), False
        while open_jobs and self.now < until:
            self.now, _, _, what = heapq.heappop(events)
            if isinstance(what, Job):
                policy.arrived(what, self)
                waiting += 1
            elif isinstance(what, Worker):
                assert what.running is not None
                what.running.ended, what.running = self.now, None
                open_jobs -= 1
            elif what == TICK:
                ticking = False
            given = list(self._given(policy))
            waiting -= len(given)
            for worker in self.workers:
                if worker.begin(self.now, self.loads) is not None:
                    number += 2
                    heapq.heappush(events, (worker.free_at, 1, number, worker))
                    if policy.lead:
                        heapq.heappush(events, (worker.free_at - policy.lead + NOW, 2, number - 1, AHEAD))
            if waiting and not ticking and any(worker.held == 0 for worker in self.workers):
                number, ticking = number + 1, True
                heapq.heappush(events, (self.now + tick, 2, number, TICK))

    def left(self, worker: Worker) -> float:
        """Seconds until what a worker holds is done, loading aside for what has not begun."""
        return max(0.0, worker.free_at - self.now) + sum(job.work / worker.speed for job in worker.queue)

    def _given(self, policy: Policy) -> Iterator[Job]:
        while (choice := policy.place(self)) is not None:
            job, worker = choice
            worker.queue.append(job)
            yield job
