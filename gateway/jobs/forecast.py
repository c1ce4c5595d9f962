"""When jobs that have not ended are expected to begin and to end, by what is predicted of each and the order in which
they are due now. Who comes later may change it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.clock import Clock
from gateway.jobs.job import Job
from gateway.jobs.registry import Registry
from gateway.jobs.scheduler import Scheduler
from gateway.jobs.states import JobState
from gateway.runners.pool import Pool
from gateway.scheduling.estimates import Estimate, Z
from gateway.scheduling.placement import RunnerView

PLAYED_MOST = 500  # jobs that are played through runner by runner; what waits behind them is taken as a stream


@dataclass(frozen=True, slots=True)
class Expected:
    """Milliseconds since the epoch. Nine of ten such jobs end between ``earliest`` and ``latest``."""

    start: int
    end: int
    earliest: int
    latest: int


class Forecaster:
    """Plays the waiting line through. Nothing is remembered between two calls."""

    def __init__(self, registry: Registry, pool: Pool, scheduler: Scheduler, clock: Clock) -> None:
        self._registry = registry
        self._pool = pool
        self._scheduler = scheduler
        self._clock = clock

    def of(self, jobs: Iterable[Job], views: list[RunnerView]) -> dict[str, Expected]:
        """What is expected of these jobs, by id. Left out: those of whose kind nothing is known, and those that no
        runner takes that is up."""
        wanted = {job.id: job for job in jobs}
        found: dict[str, Expected] = {}
        waiting = {job_id for job_id, job in wanted.items() if job.state is JobState.PENDING}
        for job_id, job in wanted.items():
            if job_id not in waiting:
                self._on_its_runner(job, found)
        if waiting:
            self._in_line(waiting, views, found)
        return found

    def _on_its_runner(self, job: Job, found: dict[str, Expected]) -> None:
        attempt = job.attempt
        runner = self._pool.get(attempt.runner) if attempt is not None else None
        if attempt is None or runner is None:
            return
        now, predicted = self._clock.wall_ms(), self._scheduler.predicted(job, runner)
        if not predicted.runs.count:
            return
        whole = predicted.runs.scaled(1.0, predicted.load)
        if attempt.started_at is not None:
            gone = (now - attempt.started_at) / 1000
            end, earliest, latest = (
                now + _ms(max(0.0, each - gone)) for each in (whole.seconds, whole.low, whole.high)
            )
            found[job.id] = Expected(attempt.started_at, end, earliest, latest)
            return
        before = 0.0
        for other in self._registry.attempts_on(attempt.runner):
            if other is attempt:
                break
            before += self._scheduler.left(other, runner)
        found[job.id] = _expected(now, before, whole, 1)

    def _in_line(self, waiting: set[str], views: list[RunnerView], found: dict[str, Expected]) -> None:
        now = self._clock.wall_ms()
        state = self._scheduler.snapshot(views)
        ready = {runner.name: runner.ready_in for runner in state.runners}
        speed = {runner.name: runner.speed for runner in state.runners}
        whole_speed = sum(speed.values())
        fitting = self._scheduler.fitting(views)
        pace_of_all = 1 / whole_speed if whole_speed else 0.0
        behind, missing = 0.0, len(waiting)
        for place, each in enumerate(self._registry.waiting):
            if place >= PLAYED_MOST and each.job_id not in waiting:  # most of a long line
                behind += each.work * pace_of_all
                continue
            able = [name for name in fitting(each.needs, each.refused_by) if name in ready]
            if able and place < PLAYED_MOST:
                warm = state.warm_for(each.needs.models)
                loads = sum(state.load(model) for model in each.needs.models)
                costs = {name: 0.0 if warm is None or name in warm else loads for name in able}
                chosen = min(able, key=lambda name: (ready[name] + costs[name] + each.work / speed[name], name))
                start, load, pace = ready[chosen], costs[chosen], speed[chosen]
                ready[chosen] += load + each.work / pace
            else:
                pace = whole_speed / len(speed) if speed else 1.0
                start, load = min(ready.values(), default=0.0) + behind, 0.0
                behind += each.work * pace_of_all
            if each.job_id not in waiting:
                continue
            job = self._registry.get(each.job_id)
            estimate = self._scheduler.estimate(job) if job is not None else None
            if estimate is not None and estimate.count and able:
                found[each.job_id] = _expected(now, start, estimate.scaled(1 / pace, load), place + 1)
            missing -= 1
            if not missing:
                return


def _expected(now: int, wait: float, runs: Estimate, jobs_before: int) -> Expected:
    """The more jobs are before it, the less its wait depends on how long each of them takes."""
    spread = math.log(max(1.0, runs.high / max(runs.low, 1e-6))) / (2 * Z) / math.sqrt(jobs_before)
    start = now + _ms(wait)
    earliest = now + _ms(wait * math.exp(-Z * spread) + runs.low)
    latest = now + _ms(wait * math.exp(Z * spread) + runs.high)
    return Expected(start, start + _ms(runs.seconds), earliest, latest)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
