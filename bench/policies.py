"""The policies that the table compares, over `virtual.Pool`. The gateway's own is asked as the gateway asks it:
through a snapshot."""

from __future__ import annotations

import math
import random
from collections import defaultdict, deque

from virtual import Job, Pool, Worker

from gateway.scheduling.ahead import LEAST_LEAD, opens_in
from gateway.scheduling.snapshot import Line, RunnerNow, Snapshot
from gateway.scheduling.warm import WarmFirst


class AtOnce:
    """Binds each job when it comes: the next in turn, the fewest connections, or the shortest queue for its speed."""

    lead = 0.0

    def __init__(self, rule: str) -> None:
        self._rule = rule
        self._turn = 0
        self._rng = random.Random(0)
        self._come: deque[Job] = deque()

    def arrived(self, job: Job, pool: Pool) -> None:
        self._come.append(job)

    def place(self, pool: Pool) -> tuple[Job, Worker] | None:
        if not self._come:
            return None
        self._turn += 1
        if self._rule == "round robin":
            worker = pool.workers[self._turn % len(pool.workers)]
        elif self._rule == "least connections":
            worker = min(pool.workers, key=lambda each: (each.held, self._rng.random()))
        else:
            worker = min(pool.workers, key=lambda each: (each.held / each.speed, -each.speed))
        return self._come.popleft(), worker


class Bound:
    """First come, first served by the fastest free worker: what nobody beats where nothing is ever loaded."""

    lead = 0.0

    def __init__(self) -> None:
        self._line: deque[Job] = deque()

    def arrived(self, job: Job, pool: Pool) -> None:
        self._line.append(job)

    def place(self, pool: Pool) -> tuple[Job, Worker] | None:
        idle = [worker for worker in pool.workers if worker.held == 0]
        if not idle or not self._line:
            return None
        return self._line.popleft(), max(idle, key=lambda worker: worker.speed)


class Lines:
    """What late binding has to know: who waits, by models, and the work that arrives for each."""

    lead = 0.0

    def __init__(self) -> None:
        self._lines: defaultdict[frozenset[str], deque[Job]] = defaultdict(deque)
        self._served: dict[frozenset[str], float] = {}
        self._demand: dict[str, tuple[float, float]] = {}

    def arrived(self, job: Job, pool: Pool) -> None:
        self._lines[job.models].append(job)
        for model in job.models:
            span = 15 * pool.loads[model]
            rate, then = self._demand.get(model, (0.0, pool.now))
            self._demand[model] = rate * math.exp((then - pool.now) / span) + job.work / span, pool.now

    def snapshot(self, pool: Pool, prefetch: int = 0) -> Snapshot:
        runners = tuple(
            RunnerNow(
                worker.name,
                room=1 + prefetch - worker.held,
                held=worker.held,
                speed=worker.speed,
                warm=tuple(worker.warm),
                keeps=worker.kept,
                ready_in=pool.left(worker),
                residence=worker.since_forced,
                opens_in=opens_in([pool.left(worker)], self.lead) if worker.held else 0.0,
            )
            for worker in pool.workers
        )
        names = frozenset(worker.name for worker in pool.workers)
        lines = [
            Line(
                head=jobs[0].id,
                due=(0, 0.0, 0.0, jobs[0].arrived, 0),
                models=models,
                runners=names,
                count=len(jobs),
                work=sum(job.work for job in jobs),
                head_work=jobs[0].work,
                unserved=pool.now - max(jobs[0].arrived, self._served.get(models, 0.0)),
            )
            for models, jobs in self._lines.items()
            if jobs
        ]
        demand = {
            model: rate * math.exp((then - pool.now) / (15 * pool.loads[model]))
            for model, (rate, then) in self._demand.items()
        }
        return Snapshot(runners, tuple(sorted(lines, key=lambda line: line.due)), pool.loads, demand)

    def take(self, job_id: str, pool: Pool) -> Job:
        models, jobs = next((models, jobs) for models, jobs in self._lines.items() if jobs and jobs[0].id == job_id)
        self._served[models] = pool.now
        return jobs.popleft()


class Ours(Lines):
    """The gateway's policy. With ``prefetch`` a worker gets so many more jobs ``lead`` seconds before it is free."""

    def __init__(self, policy: WarmFirst | None = None, prefetch: int = 0, lead: float = LEAST_LEAD) -> None:
        super().__init__()
        self.lead = lead if prefetch else 0.0
        self._policy = policy or WarmFirst()
        self._prefetch = prefetch

    def place(self, pool: Pool) -> tuple[Job, Worker] | None:
        if not any(worker.held <= self._prefetch for worker in pool.workers):
            return None
        decision = self._policy.pick(self.snapshot(pool, self._prefetch))
        if decision is None:
            return None
        worker = next(worker for worker in pool.workers if worker.name == decision.runner)
        if decision.is_forced:
            worker.since_forced = 0.0
        return self.take(decision.job, pool), worker


class Pressure(Lines):
    """Warm first, else the model for which most wait, on whoever is free."""

    def place(self, pool: Pool) -> tuple[Job, Worker] | None:
        idle = [worker for worker in pool.workers if worker.held == 0]
        waiting = {models: jobs for models, jobs in self._lines.items() if jobs}
        if not idle or not waiting:
            return None
        warm = warm_first(idle, waiting)
        if warm is not None:
            return self.take(warm[0].id, pool), warm[1]
        most = max(waiting.values(), key=len)
        return self.take(most[0].id, pool), idle[0]


class Threshold(Lines):
    """Warm first; else the model that hurts most is loaded where it hurts more than so many loads, by the worker whose
    least recently used model is needed least."""

    def __init__(self, loads: float) -> None:
        super().__init__()
        self._above = loads

    def place(self, pool: Pool) -> tuple[Job, Worker] | None:
        idle = [worker for worker in pool.workers if worker.held == 0]
        waiting = {models: jobs for models, jobs in self._lines.items() if jobs}
        if not idle or not waiting:
            return None
        warm = warm_first(idle, waiting)
        if warm is not None:
            return self.take(warm[0].id, pool), warm[1]
        capacity: defaultdict[str, float] = defaultdict(float)
        for worker in pool.workers:
            for model in worker.warm:
                capacity[model] += worker.speed / len(worker.warm)
        hurt = {
            models: sum(job.work for job in jobs) / capacity[model] if capacity[model := min(models)] else math.inf
            for models, jobs in waiting.items()
        }
        worst = max(hurt, key=lambda models: (hurt[models], -waiting[models][0].arrived))
        if hurt[worst] <= self._above * sum(pool.loads[model] for model in worst):
            return None
        demand = self.snapshot(pool).demand

        def loss(worker: Worker) -> tuple[float, float]:
            if len(worker.warm) < worker.kept:
                return 0.0, -worker.speed
            victim = worker.warm[0]
            left = capacity[victim] - worker.speed / len(worker.warm)
            return demand.get(victim, 0.0) / left if left > 1e-9 else 1e6 * demand.get(victim, 0.0), -worker.speed

        return self.take(waiting[worst][0].id, pool), min(idle, key=loss)


def warm_first(idle: list[Worker], waiting: dict[frozenset[str], deque[Job]]) -> tuple[Job, Worker] | None:
    """The oldest job that a free worker has loaded, and the fastest such worker."""
    for models, jobs in sorted(waiting.items(), key=lambda each: each[1][0].arrived):
        warm = [worker for worker in idle if models <= set(worker.warm)]
        if warm:
            return jobs[0], max(warm, key=lambda worker: worker.speed)
    return None
