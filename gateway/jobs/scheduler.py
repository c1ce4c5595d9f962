"""What policy is told, drawn from the live jobs and the pool: predictions, what is loaded where, and the snapshot that
a decision is made by. Who carries decisions out is the dispatcher."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.clock import Clock
from gateway.config.scheduling import SchedulingConfig
from gateway.jobs.job import Attempt, Job
from gateway.jobs.openings import Openings
from gateway.jobs.registry import Registry
from gateway.jobs.states import AttemptState
from gateway.runners.pool import Pool
from gateway.runners.runner import Runner
from gateway.scheduling import explain, placement
from gateway.scheduling.demand import Demand
from gateway.scheduling.estimates import Estimate, Estimates
from gateway.scheduling.memory import Memory
from gateway.scheduling.needs import Needs
from gateway.scheduling.placement import Judge, Placement, RunnerView
from gateway.scheduling.policies import POLICIES, Policy
from gateway.scheduling.snapshot import RunnerNow, Snapshot
from gateway.scheduling.warm import Decision, WarmFirst

LEFT_AT_LEAST = 0.05  # of a prediction: what runs for longer than predicted is taken to end soon
LOOKS = 0.1  # of a load time: how often a decision to wait is looked at again
LOOK_SECONDS = (0.02, 1.0)  # at most and at least so often


def policy_of(settings: SchedulingConfig) -> Policy:
    """The policy that the YAML names."""
    if settings.policy == "warm":
        return WarmFirst(
            patience_seconds=settings.patience_seconds, keep=frozenset(kept.model for kept in settings.keep_warm)
        )
    return POLICIES[settings.policy]


@dataclass(frozen=True, slots=True)
class Predicted:
    """A job's time on a runner in seconds: ``load`` is the part that goes into loading models."""

    runs: Estimate
    load: float


class Scheduler:
    """Asks the policy. ``memory`` and ``estimates`` are what has been learned; others teach them."""

    def __init__(self, registry: Registry, pool: Pool, clock: Clock, policy: Policy, judge: Judge) -> None:
        self.policy = policy
        self.memory = Memory()
        self.estimates = Estimates()
        self._registry = registry
        self._pool = pool
        self._clock = clock
        self._judge = judge
        self.openings = Openings(registry, clock, self.until_end)
        self._demand = Demand()
        self._given = 0
        self._last_given: Counter[str] = Counter()
        self._worked_since_forced: dict[str, float] = {}
        self._eligible: dict[tuple[Needs, frozenset[str]], frozenset[str]] = {}
        self._eligible_for: object = None

    # what is predicted

    def work(self, job: Job) -> float:
        """How many seconds a job is expected to take at speed 1 with its models loaded."""
        return self.estimate(job).seconds

    def estimate(self, job: Job) -> Estimate:
        """The same with how sure that is."""
        return self.estimates.estimate(job.profile, job.needs.models)

    def speed(self, runner: Runner) -> float:
        """How fast a runner is, by what it did, or else by its weight."""
        return self.memory.speed(runner.name, runner.config.weight)

    def predicted(self, job: Job, runner: Runner) -> Predicted:
        """How long a job will take on a runner, after what that one holds."""
        return Predicted(self.estimate(job).scaled(1 / self.speed(runner)), self._load(job, runner))

    def _load(self, job: Job, runner: Runner) -> float:
        if not job.needs.models:
            return 0.0
        warm = self.memory.warm(runner.name)
        return sum(self.memory.load(model) for model in job.needs.models if model not in warm)

    def left(self, attempt: Attempt, runner: Runner) -> float:
        """How many seconds an attempt will still take; 0 where nothing is known of such jobs."""
        whole = self._whole(attempt, runner)
        return 0.0 if whole is None else max(whole - self._gone(attempt), LEFT_AT_LEAST * whole)

    def until_end(self, attempt: Attempt, runner: Runner) -> float | None:
        """In how many seconds an attempt should end, negative where it takes longer than predicted; None where nothing
        is known of such jobs."""
        whole = self._whole(attempt, runner)
        return None if whole is None else whole - self._gone(attempt)

    def _whole(self, attempt: Attempt, runner: Runner) -> float | None:
        estimate = self.estimate(attempt.job)
        return estimate.seconds / self.speed(runner) + self._load(attempt.job, runner) if estimate.count else None

    def _gone(self, attempt: Attempt) -> float:
        if attempt.state is not AttemptState.RUNNING or attempt.started_at is None:
            return 0.0
        return (self._clock.wall_ms() - attempt.started_at) / 1000

    # what is decided

    def arrived(self, job: Job) -> None:
        """A job has been accepted: it counts as demand for its models."""
        self._demand.add(job.needs.models, self.work(job), self._clock.monotonic(), self.memory.load)

    def pick(self, views: Sequence[RunnerView]) -> Decision | None:
        """What is to be given out now. None: nothing fits, or every runner with room does best to wait."""
        if not any(view.is_up and view.is_active and view.has_room for view in views):
            return None
        return self.policy.pick(self.snapshot(views))

    def place(self, job: Job, views: Sequence[RunnerView], but: frozenset[str]) -> str | None:
        """The runner that a job that does not wait yet would be given to now."""
        if not any(view.is_up and view.is_active and view.has_room for view in views):
            return None
        waiting = self._registry.waiting
        waiting.add(self._registry.as_waiting(job, but))
        try:
            decision = self.policy.pick(self.snapshot(views))
        finally:
            waiting.remove(job.id)
        return decision.runner if decision is not None and decision.job == job.id else None

    def explained(self, job: Job, views: Sequence[RunnerView]) -> Placement:
        """Where a job that may go would go now, and why."""
        waiting = self._registry.waiting.get(job.id) or self._registry.as_waiting(job)
        before = self._registry.waiting.position(job.id) or 0
        state = self.snapshot(views)
        reason, runner = explain.job(state, self.policy, waiting, before)
        considered = (
            (view.name, placement.obstacle(job.needs, view, self._judge, frozenset(job.refused_by))) for view in views
        )
        told = tuple((name, why or explain.runner(state, name, job.needs.models)) for name, why in considered)
        return Placement(runner, reason, told)

    def gave(self, decision: Decision) -> None:
        """A decision is carried out."""
        self._given += 1
        self._last_given[decision.runner] = self._given
        if decision.is_forced:
            self._worked_since_forced[decision.runner] = 0.0

    def worked(self, runner: str, seconds: float) -> None:
        """A runner has run a job for so long, loading aside."""
        if runner in self._worked_since_forced:
            self._worked_since_forced[runner] += seconds

    def looks_again_in(self, views: Sequence[RunnerView]) -> float:
        """Seconds until a decision to wait is to be looked at again though nothing has happened: it rests on how long
        others have waited, where a runner is idle. Infinite where none is."""
        if not any(view.is_up and view.is_active and not view.held for view in views):
            return math.inf
        loads = [self.memory.load(model) for kind in self._registry.waiting.needs() for model in kind.models]
        least, most = LOOK_SECONDS
        return min(most, max(least, LOOKS * min(loads, default=most)))

    def snapshot(self, views: Sequence[RunnerView]) -> Snapshot:
        """What a decision is made by now."""
        up = [view for view in views if view.is_up and view.is_active]
        now = self._clock.monotonic()
        lines = self._registry.waiting.lines(now, self.fitting(up))
        return Snapshot(
            tuple(self._runner(view) for view in up),
            lines,
            self.memory.loads,
            self._demand.now(now, self.memory.load),
            self.memory.typical_load,
        )

    def _runner(self, view: RunnerView) -> RunnerNow:
        runner = self._pool.get(view.name)
        attempts = [each for each in self._registry.attempts_on(view.name) if each.state is not AttemptState.PROBING]
        left = [each for each in attempts if not each.has_run]
        ready_in = 0.0 if runner is None else sum(self.left(attempt, runner) for attempt in left)
        others = max(0, view.busy - len(attempts))
        speed = view.weight if view.weight != 1.0 else self.memory.speed(view.name, 1.0)
        return RunnerNow(
            view.name,
            room=view.capacity - view.held,
            held=view.held,
            speed=speed,
            warm=self.memory.after(view.name, [attempt.job.needs.models for attempt in attempts]),
            keeps=self.memory.keeps(view.name),
            ready_in=ready_in + others * self.estimates.typical / speed,
            residence=self._worked_since_forced.get(view.name, math.inf),
            latency=view.latency,
            queue=view.work,
            last_given=self._last_given[view.name],
            opens_in=0.0 if runner is None or not view.held else self.openings.opens_in(runner),
        )

    def fitting(self, views: Sequence[RunnerView]) -> Callable[[Needs, frozenset[str]], frozenset[str]]:
        """Tells by needs, and by who has refused such a job, which of the runners that are up would take it."""
        up = [view for view in views if view.is_up and view.is_active]
        pool = tuple((view.name, view.catalogue_version, view.tags, view.reserved_for) for view in up)
        if pool != self._eligible_for or len(self._eligible) > KINDS_MOST:
            self._eligible, self._eligible_for = {}, pool
        return _Fitting(self._judge, up, self._eligible)


KINDS_MOST = 20_000


@dataclass(frozen=True, slots=True)
class _Fitting:
    """Which of these runners fit jobs with these needs; found once for each kind while the pool stays as it is."""

    judge: Judge
    runners: Sequence[RunnerView]
    known: dict[tuple[Needs, frozenset[str]], frozenset[str]]

    def __call__(self, needs: Needs, refused_by: frozenset[str]) -> frozenset[str]:
        found = self.known.get((needs, refused_by))
        if found is None:
            found = self.known[needs, refused_by] = frozenset(
                view.name
                for view in self.runners
                if view.name not in refused_by and self.judge.verdict(needs, view).fits
            )
        return found
