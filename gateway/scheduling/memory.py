"""What is known of a runner from the jobs that it ran: which models it has loaded, how many it keeps, how long each
takes to load, and how fast it is.

    expected   observed            learned
    cold       nothing was loaded  it keeps more than was thought
    warm       it was loaded       it keeps fewer: as many as were used since
    either     loading took time   the load time

Until one or the other was seen on a runner, it is thought to keep what most runners do on which it was.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway.scheduling.snapshot import UNKNOWN_LOAD_SECONDS, Models
from gateway.scheduling.warm import HEAVY

NEWEST = 0.25  # share of the newest observation
REMEMBERED = 64  # models of one runner
MODELS_MOST = 5_000
FIRST_GUESS = 2  # models that a runner is thought to keep until it is known of any
LOADED = 0.4  # of the known load time: less is no load
TIMED_ENOUGH = 5
SPEED_SPAN = 50.0  # a runner is at most so many times faster or slower than another


@dataclass(slots=True)
class RunnerMemory:
    """``recent`` are the models that it has used, least recently first, loaded or not."""

    recent: list[str] = field(default_factory=list)
    keeps: int | None = None  # None: not known yet
    speed: float | None = None  # None: not known yet
    timed: int = 0  # jobs that its speed was drawn from


class Memory:
    """All runners'. Seconds."""

    def __init__(self) -> None:
        self.runners: dict[str, RunnerMemory] = {}
        self.loads: dict[str, float] = {}
        self._all_loads = 0.0
        self._kept_by: Counter[int] = Counter()  # how many runners are known to keep so many
        self.changed: set[tuple[str, str]] = set()
        self.forgotten: set[str] = set()  # models

    def warm(self, runner: str) -> tuple[str, ...]:
        """What it has loaded by all that is known, least recently used first."""
        known = self.runners.get(runner)
        return () if known is None else tuple(kept(known.recent, self.keeps(runner), self.loads))

    def keeps(self, runner: str) -> int:
        """How many heavy models it keeps."""
        known = self.runners.get(runner)
        if known is not None and known.keeps is not None:
            return known.keeps
        return max(self._kept_by, key=lambda keeps: (self._kept_by[keeps], -keeps), default=FIRST_GUESS)

    def put_runner(self, runner: str, known: RunnerMemory) -> None:
        """As it was stored."""
        self.runners[runner] = known
        self._kept_by = Counter(each.keeps for each in self.runners.values() if each.keeps is not None)

    def speed(self, runner: str, otherwise: float) -> float:
        """How much faster than a runner of speed 1 it is."""
        known = self.runners.get(runner)
        return otherwise if known is None or known.speed is None else known.speed

    def knows_speed(self, runner: str) -> bool:
        """Whether its speed was drawn from more than a job or two."""
        known = self.runners.get(runner)
        return known is not None and known.timed >= TIMED_ENOUGH

    def load(self, model: str) -> float:
        """How long it takes to load."""
        return self.loads.get(model, self.typical_load)

    @property
    def typical_load(self) -> float:
        """Of a model that nobody has loaded yet: as long as the others take on average."""
        return self._all_loads / len(self.loads) if self.loads else UNKNOWN_LOAD_SECONDS

    def after(self, runner: str, jobs: Iterable[Models]) -> tuple[str, ...]:
        """What it will have loaded when it has done these."""
        jobs = [models for models in jobs if models]
        if not jobs:
            return self.warm(runner)
        known = self.runners.get(runner, RunnerMemory())
        recent = list(known.recent)
        for models in jobs:
            recent = _used(recent, models)
        return tuple(kept(recent, self.keeps(runner), self.loads))

    def ran(self, runner: str, models: Models, loaded: Mapping[str, float], unaccounted: float = 0.0) -> None:
        """A job with these models ran there.

        Args:
            runner: where.
            models: that it used.
            loaded: those whose loader ran, with how long it took.
            unaccounted: how long the job took for loading elsewhere, as in its first sampler.
        """
        if not models:
            return
        known = self.runners.setdefault(runner, RunnerMemory())
        warm = set(self.warm(runner))
        expected = sum(self.loads.get(model, 0.0) for model in models if model not in warm)
        spent = sum(loaded.values()) + unaccounted
        self._learn_loads(models, {model for model in models if model not in warm}, loaded, unaccounted)
        full = sum(self.loads.get(model, 0.0) for model in models)
        seen = [model for model in models if model in known.recent]
        if seen and full > 0:
            was_loaded = spent >= LOADED * full
            if was_loaded and not expected:
                self._learn_keeps(known, max(1, self._depth(known.recent, models) - 1))
            elif not was_loaded and expected >= LOADED * full:
                self._learn_keeps(known, max(self.keeps(runner), self._depth(known.recent, models)))
        known.recent = _used(known.recent, models)
        together = len(_heavy(models, self.loads))
        if together > self.keeps(runner):
            self._learn_keeps(known, together)
        self.changed.add(("runner", runner))

    def took(self, runner: str, ratio: float, otherwise: float) -> None:
        """A job took ``ratio`` times as long there as it would at speed 1."""
        known = self.runners.setdefault(runner, RunnerMemory())
        measured = 1 / ratio
        before = known.speed if known.speed is not None else otherwise
        share = max(NEWEST, 1 / (known.timed + 1))
        known.timed += 1
        blended = math.exp((1 - share) * math.log(before) + share * math.log(measured))
        known.speed = min(SPEED_SPAN, max(1 / SPEED_SPAN, blended))
        self.changed.add(("runner", runner))

    def forget(self, runner: str) -> None:
        """It has restarted, or was told to free its memory: nothing is loaded there. How fast it is and what it keeps
        stay known."""
        known = self.runners.get(runner)
        if known is not None and known.recent:
            known.recent = []
            self.changed.add(("runner", runner))

    def _learn_loads(self, models: Models, cold: set[str], loaded: Mapping[str, float], unaccounted: float) -> None:
        """What a sampler spent on loading belongs to the models that were cold, in proportion to what is known."""
        suspects = sorted(cold or models)
        whole = sum(self.load(model) for model in suspects)
        for model in models:
            seconds = loaded.get(model, 0.0)
            if model in suspects and whole > 0:
                seconds += unaccounted * self.load(model) / whole
            known = self.loads.get(model)
            if known is None and (model in cold or seconds > 0):
                self.put_load(model, seconds)
            elif known is not None and seconds >= LOADED * known and seconds > 0:
                self.put_load(model, (1 - NEWEST) * known + NEWEST * seconds)

    def _learn_keeps(self, known: RunnerMemory, keeps: int) -> None:
        if known.keeps is not None:
            self._kept_by -= Counter([known.keeps])
        known.keeps = keeps
        self._kept_by[keeps] += 1

    def put_load(self, model: str, seconds: float) -> None:
        """The load time of a model."""
        if model not in self.loads and len(self.loads) >= MODELS_MOST:
            gone = next(iter(self.loads))
            self._all_loads -= self.loads.pop(gone)
            self.forgotten.add(gone)
        self._all_loads += seconds - self.loads.get(model, 0.0)
        self.loads[model] = seconds
        self.changed.add(("model", model))

    def _depth(self, recent: list[str], models: Models) -> int:
        """How many heavy models a runner must keep for these to be still there."""
        first = min((recent.index(model) for model in models if model in recent), default=len(recent))
        return len(_heavy({*recent[first:], *models}, self.loads))


def kept(recent: list[str], keeps: int, loads: Mapping[str, float]) -> list[str]:
    """Of the models used, least recently first, those that are still there: so many heavy ones, and the light ones that
    were used since the oldest of them."""
    heavy = _heavy(recent, loads)
    left = keeps
    for place in range(len(recent) - 1, -1, -1):
        if recent[place] in heavy:
            if left == 0:
                return recent[place + 1 :]
            left -= 1
    return recent


def _heavy(models: Iterable[str], loads: Mapping[str, float]) -> set[str]:
    seconds = {model: loads.get(model, UNKNOWN_LOAD_SECONDS) for model in models}
    most = max(seconds.values(), default=0.0)
    return {model for model, took in seconds.items() if took >= HEAVY * most}


def _used(recent: list[str], models: Models) -> list[str]:
    return [*(model for model in recent if model not in models), *sorted(models)][-REMEMBERED:]
