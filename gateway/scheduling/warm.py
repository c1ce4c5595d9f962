"""Warm first: a free runner takes the job that is due first among those whose models it has loaded. It loads others
only when waiting for them hurts more than loading, and the runner does it whose victim is needed least.

    overdue   a line that has not been served for its patience gets the next runner that may switch, so nobody starves
    owed      a line whose owner has had less than the owner of what would go instead, by more than switching costs,
              gets it too; so does one of a higher priority
    warm      the head that is due first and that an idle runner has loaded; the fastest one takes it
    switch    the line that hurts most: its work over the capacity that has it loaded, against the load time
    ahead     behind what a runner does now, the head that is due first and that it has loaded, only where it would
              begin first anyway. A runner that a line would make switch is left to become idle
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

from gateway.scheduling.snapshot import Line, Models, RunnerNow, Snapshot

Free = Mapping[str, RunnerNow]  # runners that may be given something, by name

AS_SOON = 1.05  # predictions that differ by less are the same
NOTHING = 1e-6  # of capacity
HEAVY = 0.25  # of the longest load time beside it: a model that takes less room than that throws no other out


@dataclass(frozen=True, slots=True)
class Decision:
    """A job for a runner. ``load`` is what it has to load first, in seconds; ``is_forced``: it was its line's turn
    although the runner may have other work."""

    job: str
    runner: str
    reason: str
    load: float = 0.0
    is_forced: bool = False


@dataclass(frozen=True, slots=True)
class WarmFirst:
    """The policy with its numbers.

    Attributes:
        hurt: a runner switches when waiting costs more than so many load times, where nobody needs what it throws out,
        hurt_most: and at most so many. In between, one more for each time that the work arriving for what it throws out
            fills the runners that still have it.
        patience: a line is overdue when it was not served for so many load times of its models, and
        patience_seconds: at least for so long.
        residence: a runner that was made to switch for a line that was overdue or owed works for so many load times
            before it does so again: so at most 1 / (1 + residence) of the pool's time goes into that.
        keep: models that the last runner that has them does not throw out, unless a line is overdue.
    """

    hurt: float = 1.0
    hurt_most: float = 3.0
    patience: float = 10.0
    patience_seconds: float = 60.0
    residence: float = 4.0
    keep: frozenset[str] = frozenset()

    def pick(self, now: Snapshot) -> Decision | None:
        """The next job to give out, None if every runner does best to wait."""
        if not now.lines:
            return None
        return (
            self._overdue(now, now.idle)
            or self._owed(now, now.idle)
            or self._warm(now)
            or self._switch(now)
            or self._ahead(now)
        )

    # overdue

    def is_overdue(self, now: Snapshot, line: Line) -> bool:
        """Whether the line has been passed over for too long."""
        return self.left(now, line) < 0

    def left(self, now: Snapshot, line: Line) -> float:
        """Seconds until the line is overdue, negative once it is."""
        return max(self.patience_seconds, self.patience * sum(map(now.load, line.models))) - line.unserved

    def weigh(self, now: Snapshot, models: Models) -> tuple[float, float]:
        """How long the work that waits for these models would take where they are loaded, and from which wait on an
        idle runner would load them. Seconds."""
        lines = [line for line in now.lines if line.models == models]
        capacity: dict[str, float] = {}
        thresholds = [
            now.missing(runner, models) * min(self.hurt_most, self.hurt + self._loss(now, runner, models, capacity)[0])
            for runner in now.idle.values()
            if any(runner.name in line.runners for line in lines)
        ]
        return _drain(now, models, lines), min(thresholds, default=math.inf)

    def _overdue(self, now: Snapshot, free: Free) -> Decision | None:
        late = [line for line in now.lines if self.is_overdue(now, line)] if free else []
        for line in sorted(late, key=lambda line: -line.unserved):
            chosen = self._forced(now, line, free)
            if chosen is not None:
                runner, load = chosen
                reason = f"overdue: not served for {line.unserved:.0f} s; loads for {load:.1f} s"
                return Decision(line.head, runner.name, reason, load, is_forced=load > 0)
        return None

    def _forced(self, now: Snapshot, line: Line, free: Free) -> tuple[RunnerNow, float] | None:
        """The free runner that takes a line's head whatever else waits, and what it loads for it."""
        able = [
            (self._loss(now, runner, line.models, {}), load, runner)
            for name, runner in free.items()
            if name in line.runners
            and ((load := now.missing(runner, line.models)) == 0 or runner.residence >= self.residence * load)
        ]
        _, load, runner = min(able, key=lambda each: each[0], default=(None, 0.0, None))
        return None if runner is None else (runner, load)

    # owed

    def _owed(self, now: Snapshot, free: Free) -> Decision | None:
        """Of the lines that are due before what a free runner has loaded, the first one that is owed a switch."""
        if not free:
            return None
        before: list[Line] = []
        for line in now.lines:
            if self._warm_names(now, line) & free.keys():
                return self._first_owed(now, before, line, free) if before else None
            before.append(line)
        return None

    def _first_owed(self, now: Snapshot, before: list[Line], instead: Line, free: Free) -> Decision | None:
        for line in before:
            lag = line.lags_behind(instead)
            if lag <= 0:
                continue
            chosen = self._forced(now, line, free)
            if chosen is None:
                continue
            runner, load = chosen
            soonest = min((now.by_name[name].ready_in for name in self._warm_names(now, line)), default=math.inf)
            if lag > self.hurt_most * load and soonest > load:
                reason = f"its owner is {lag:.0f} s of GPU time behind; loads for {load:.1f} s"
                return Decision(line.head, runner.name, reason, load, is_forced=True)
        return None

    @staticmethod
    def _warm_names(now: Snapshot, line: Line) -> Set[str]:
        """The runners that fit and have the line's models loaded."""
        warm = now.warm_for(line.models)
        return (line.runners if warm is None else line.runners & warm) & now.by_name.keys()

    # warm

    def _warm(self, now: Snapshot) -> Decision | None:
        if not now.idle:
            return None
        for line in now.lines:
            idle = [now.idle[name] for name in self._warm_names(now, line) & now.idle.keys()]
            if idle:
                best = min(idle, key=_quickest)
                return Decision(line.head, best.name, "has its models loaded, and is the fastest that is free")
        return None

    # switch

    def _switch(self, now: Snapshot) -> Decision | None:
        if not now.idle:
            return None
        groups: defaultdict[Models, list[Line]] = defaultdict(list)
        for line in now.lines:
            groups[line.models].append(line)
        waits = [Wait(models, tuple(lines), _drain(now, models, lines)) for models, lines in groups.items()]
        capacity: dict[str, float] = {}
        for wait in sorted(waits, key=lambda wait: wait.rank):
            chosen = self._switched_to(now, wait, capacity)
            if chosen is not None:
                return chosen
        return None

    def _switched_to(self, now: Snapshot, wait: Wait, capacity: dict[str, float]) -> Decision | None:
        """The runner that is to load what these lines need, if it hurts enough."""
        for line in wait.lines:
            able = []
            for runner in now.idle.values():
                if runner.name in line.runners and not self._is_kept(now, runner, wait.models):
                    load, loss = now.missing(runner, wait.models), self._loss(now, runner, wait.models, capacity)
                    if wait.seconds > load * min(self.hurt_most, self.hurt + loss[0]):
                        able.append((loss, load, runner))
            if able:
                _, load, best = min(able, key=lambda each: each[0])
                why = "no runner has its models" if math.isinf(wait.seconds) else f"{wait.seconds:.1f} s of work wait"
                return Decision(line.head, best.name, f"{why}; loads for {load:.1f} s", load)
        return None

    def _is_kept(self, now: Snapshot, runner: RunnerNow, models: Models) -> bool:
        """Whether the runner would throw out a model to be kept that no other has."""
        thrown = self.keep.intersection(victims(now, runner, models)) if self.keep else ()
        return any(len(now.holders.get(victim, ())) == 1 for victim in thrown)

    @staticmethod
    def _loss(now: Snapshot, runner: RunnerNow, models: Models, capacity: dict[str, float]) -> tuple[float, float, str]:
        """What the pool loses when the runner loads these: how much its victims are needed, over what is left."""
        loss = 0.0
        for victim in victims(now, runner, models):
            left = capacity_of(now, victim, capacity) - _share(runner)
            demand = now.demand.get(victim, 0.0)
            loss += demand / left if left > NOTHING else demand / NOTHING
        return loss, -runner.speed, runner.name

    # ahead

    def _ahead(self, now: Snapshot) -> Decision | None:
        """What is given to a runner that works. Lines that would get it for a switch, were it idle, keep it."""
        free: Free = now.almost_idle
        while free:
            claim = self._overdue(now, free) or self._owed(now, free)
            if claim is None:
                return self._warm_ahead(now, free)
            if not claim.load:
                return claim
            free = {name: runner for name, runner in free.items() if name != claim.runner}
            now = replace(now, lines=tuple(line for line in now.lines if line.head != claim.job))
        return None

    def _warm_ahead(self, now: Snapshot, free: Free) -> Decision | None:
        for line in now.lines:
            names = self._warm_names(now, line)
            soonest = min((now.by_name[name].ready_in for name in names), default=0.0)
            able = [free[name] for name in names & free.keys() if free[name].ready_in <= soonest * AS_SOON]
            if able:
                first = min(able, key=lambda runner: ((runner.queue + 1) / runner.speed, _quickest(runner)))
                return Decision(line.head, first.name, "has its models loaded, and is free first")
        return None


@dataclass(frozen=True, slots=True)
class Wait:
    """The lines that wait for the same models, and how long those that have them loaded would need for all of it."""

    models: Models
    lines: tuple[Line, ...]
    seconds: float

    @property
    def rank(self) -> tuple[bool, int]:
        """What nobody has loaded goes first, then where most jobs wait; among equals the order of the lines holds."""
        return not math.isinf(self.seconds), -sum(line.count for line in self.lines)


def _drain(now: Snapshot, models: Models, lines: Sequence[Line]) -> float:
    warm = now.warm_for(models)
    fit = frozenset[str]().union(*(line.runners for line in lines))
    able = fit if warm is None else fit & warm
    speed = sum(_share(now.by_name[name]) for name in able if name in now.by_name)
    return sum(line.work for line in lines) / speed if speed else math.inf


def capacity_of(now: Snapshot, model: str, known: dict[str, float]) -> float:
    """The speed of the runners that have the model, shared among what each has."""
    if model not in known:
        holders = (now.by_name[name] for name in now.holders.get(model, ()))
        known[model] = sum(_share(runner) for runner in holders)
    return known[model]


def _quickest(runner: RunnerNow) -> tuple[float | str, ...]:
    return runner.ready_in, -runner.speed, round(runner.latency, 3), runner.name


def _share(runner: RunnerNow) -> float:
    """The part of its speed that each of the heavy models it has can count on."""
    return runner.speed / max(1, min(len(runner.warm), runner.keeps))


def victims(now: Snapshot, runner: RunnerNow, models: Models) -> list[str]:
    """The models that the runner would throw out to load these, least recently used first."""
    if all(model in runner.warm for model in models):
        return []
    heaviest = max(now.load(model) for model in (*runner.warm, *models))
    heavy = {model for model in (*runner.warm, *models) if now.load(model) >= HEAVY * heaviest}
    others = [model for model in runner.warm if model in heavy and model not in models]
    too_many = len(others) + len(heavy & models) - runner.keeps
    return others[: max(0, too_many)]
