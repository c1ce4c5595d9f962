"""Whose turn it is, in virtual time: an owner that floods beside one that sends a job now and then, weights, and what a
decision costs among ten thousand jobs. Seconds.

    python bench/fairness.py
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from pathlib import Path

from virtual import Job, Pool, Worker

sys.path.insert(0, str(Path(__file__).parents[1]))

from gateway.scheduling.needs import Needs
from gateway.scheduling.snapshot import RunnerNow, Snapshot
from gateway.scheduling.waiting import Waiting, WaitingLine
from gateway.scheduling.warm import WarmFirst

WORKERS = 8
LENGTH = 2.0  # of a job


class Fair:
    """The gateway's waiting line and policy; jobs may be named with a weight."""

    lead = 0.0

    def __init__(self, weights: dict[str, float] | None = None, guess: float = LENGTH) -> None:
        self.line = WaitingLine()
        self.jobs: dict[str, Job] = {}
        self.had: dict[str, float] = {}
        self._weights = weights or {}
        self._guess = guess
        self._policy = WarmFirst()
        self._settled: set[str] = set()

    def arrived(self, job: Job, pool: Pool) -> None:
        self.jobs[job.id] = job
        needs = Needs(frozenset(), frozenset(), frozenset(), job.models)
        weight = self._weights.get(job.owner, 1.0)
        number = len(self.jobs)
        self.line.add(
            Waiting(
                job.id,
                number,
                number,
                needs,
                owner=job.owner,
                weight=weight,
                work=self._guess,
                since=pool.now,
            )
        )

    def place(self, pool: Pool) -> tuple[Job, Worker] | None:
        self._settle(pool)
        if not self.line or not any(worker.held == 0 for worker in pool.workers):
            return None
        names = frozenset(worker.name for worker in pool.workers)
        runners = tuple(
            RunnerNow(
                each.name,
                1 - each.held,
                each.held,
                each.speed,
                tuple(each.warm),
                each.kept,
                max(0.0, each.free_at - pool.now),
                each.since_forced,
            )
            for each in pool.workers
        )
        decision = self._policy.pick(Snapshot(runners, self.line.lines(pool.now, lambda *_: names), pool.loads))
        if decision is None:
            return None
        job, waiting = self.jobs[decision.job], self.line.get(decision.job)
        assert waiting is not None
        self.line.shares.begin(*waiting.flow, waiting.work, waiting.weight)
        self.line.give_out(job.id, pool.now)
        worker = next(each for each in pool.workers if each.name == decision.runner)
        if decision.is_forced:
            worker.since_forced = 0.0
        return job, worker

    def _settle(self, pool: Pool) -> None:
        """What ended jobs took in truth."""
        for job in self.jobs.values():
            if job.ended <= pool.now and job.id not in self._settled:
                self._settled.add(job.id)
                took = job.ended - job.started
                self.had[job.owner] = self.had.get(job.owner, 0.0) + took
                self.line.shares.settle(job.owner, "", took - self._guess, self._weights.get(job.owner, 1.0))


def flood_and_visitor(jobs: int = 1000, every: float = 10.0, models: tuple[str, ...] = ()) -> list[float]:
    """How much later each job of the visitor begins than with half of the pool to itself, where it begins at once."""
    rng = random.Random(1)
    flood = [Job(f"f{n}", 0.0, rng.uniform(1, 3), frozenset(models[:1]), "flood") for n in range(jobs)]
    until = sum(job.work for job in flood) / WORKERS
    visitor = [
        Job(f"v{n}", 5 + n * every, rng.uniform(1, 3), frozenset(models[1:]), "visitor")
        for n in range(int(until / every))
    ]
    pool = Pool([1.0] * WORKERS, 1, {"a": 8.0, "b": 8.0})
    pool.run(sorted([*flood, *visitor], key=lambda job: job.arrived), Fair())
    return [job.started - job.arrived for job in visitor]


def shares(weights: dict[str, float], seconds: float = 600.0) -> dict[str, float]:
    """The GPU time that each owner has had while all of them waited; the jobs of the first are three times as long as
    the gateway expects."""
    rng = random.Random(2)
    jobs = [
        Job(f"{owner}{n}", 0.0, rng.uniform(1, 3) * (3 if not place else 1), frozenset({"a"}), owner)
        for place, owner in enumerate(weights)
        for n in range(4000)
    ]
    policy = Fair(weights)
    pool = Pool([1.0] * WORKERS, 1, {"a": 8.0})
    pool.run(jobs, policy, until=seconds)
    return policy.had


def decision_seconds(jobs: int = 10_000, runners: int = 100, kinds: int = 60) -> float:
    """What a decision costs, the best of many: the snapshot's lines and the choice, with two runners free."""
    line = WaitingLine()
    for number in range(jobs):
        needs = Needs(frozenset(), frozenset({"KSampler"}), frozenset(), frozenset({f"model-{number % kinds}"}))
        owner, client = f"owner-{number % 97}", f"client-{number % 331}"
        line.add(Waiting(str(number), number, number, needs, owner=owner, client=client, work=1.0 + number % 3))
    pool = tuple(
        RunnerNow(f"gpu-{n}", int(n in (3, 70)), 2 * (n not in (3, 70)), 1.0, (f"model-{n % kinds}",))
        for n in range(runners)
    )
    names, loads, policy = frozenset(each.name for each in pool), {f"model-{n}": 8.0 for n in range(kinds)}, WarmFirst()
    found = []
    for _ in range(50):
        began = time.perf_counter()
        policy.pick(Snapshot(pool, line.lines(1.0, lambda *_: names), loads))
        found.append(time.perf_counter() - began)
    return min(found)


def main() -> None:
    late = flood_and_visitor()
    print(f"a flood of 1,000 jobs, a visitor's job every 10 s, each 1 to 3 s, {WORKERS} runners:")
    print(f"  the visitor's begin after {statistics.mean(late):.2f} s on average, {max(late):.2f} s at most")
    late = flood_and_visitor(models=("a", "b"))
    print("the same, where the visitor's model is loaded nowhere at first, loading takes 8 s:")
    print(f"  the visitor's begin after {statistics.mean(late):.2f} s on average, {max(late):.2f} s at most")
    had = shares({"heavy": 3.0, "light": 1.0})
    print(f"a decision among 10,000 jobs of 60 kinds and 100 runners: {decision_seconds() * 1000:.2f} ms")
    print(f"weights 3 : 1, both wait all the time: GPU time {had['heavy'] / had['light']:.3f} : 1")


if __name__ == "__main__":
    began = time.monotonic()
    main()
    print(f"in {time.monotonic() - began:.0f} s")
