"""How long jobs take, learned from those that have ended: exponential averages of logarithms, from the most special to
the most general that is known."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.scheduling.profile import Profile
from gateway.scheduling.snapshot import Models

NEWEST = 0.2  # share of the newest job in an average
ENOUGH = 3  # jobs after which the more special average is believed
WIDE = 1.0  # spread of what was never seen; as a logarithm, so a factor of e
NARROWEST = 0.05
UNKNOWN_SECONDS = 10.0
Z = 1.645  # of a normal distribution: nine of ten are within so many spreads
KINDS_MOST = 5_000


@dataclass(slots=True)
class Average:
    """Of logarithms: ``mean``, ``variance`` and over how many."""

    mean: float
    variance: float = WIDE**2
    count: int = 1

    def add(self, value: float) -> None:
        """One more; the first few weigh the same."""
        share = max(NEWEST, 1 / (self.count + 1))
        apart = value - self.mean
        self.mean += share * apart
        self.variance = (1 - share) * (self.variance + share * apart**2)
        self.count += 1

    @property
    def spread(self) -> float:
        """Its standard deviation; wide after one or two."""
        return math.sqrt(self.variance + (WIDE**2 / 4 if self.count < ENOUGH else 0.0))


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds: nine of ten jobs take between ``low`` and ``high``. ``count`` is how many such jobs it is drawn from."""

    seconds: float
    low: float
    high: float
    count: int

    def scaled(self, factor: float, more: float = 0.0) -> Estimate:
        """On a runner of another speed, and with so many seconds of loading before it."""
        return Estimate(self.seconds * factor + more, self.low * factor + more, self.high * factor + more, self.count)


class Estimates:
    """Durations at speed 1 without loading. Bounded: the kinds that were not seen for longest are forgotten."""

    def __init__(self) -> None:
        self._averages: OrderedDict[str, Average] = OrderedDict()
        self._given: dict[tuple[Profile, Models], Estimate] = {}  # until something is learned: most ask for the same
        self.changed: set[str] = set()
        self.forgotten: set[str] = set()

    def learn(self, profile: Profile, models: Models, seconds: float) -> None:
        """A job took so long at speed 1, loading aside."""
        value = math.log(max(seconds, 1e-4))
        for key, size in _keys(profile, models):
            self._add(key, value - math.log(size))

    def estimate(self, profile: Profile, models: Models) -> Estimate:
        """What such a job will take at speed 1 with everything loaded."""
        known = self._given.get((profile, models))
        if known is None:
            if len(self._given) >= KINDS_MOST:
                self._given.clear()
            known = self._given[profile, models] = self._estimate(profile, models)
        return known

    def _estimate(self, profile: Profile, models: Models) -> Estimate:
        best: tuple[Average, float] | None = None
        for key, size in _keys(profile, models):
            average = self._averages.get(key)
            if average is not None:
                best = best or (average, size)
                if average.count >= ENOUGH:
                    best = (average, size)
                    break
        if best is None:
            return Estimate(UNKNOWN_SECONDS, UNKNOWN_SECONDS / 10, UNKNOWN_SECONDS * 10, 0)
        average, size = best
        middle, spread = average.mean + math.log(size), max(NARROWEST, average.spread)
        return Estimate(math.exp(middle), math.exp(middle - Z * spread), math.exp(middle + Z * spread), average.count)

    @property
    def typical(self) -> float:
        """What jobs take at speed 1, whatever they are; 0 as long as none has ended."""
        known = self._averages.get("")
        return 0.0 if known is None else math.exp(known.mean)

    def put(self, key: str, average: Average) -> None:
        """As it was stored."""
        self._given.clear()
        self._averages[key] = average
        while len(self._averages) > KINDS_MOST:
            gone, _ = self._averages.popitem(last=False)
            self.changed.discard(gone)
            self.forgotten.add(gone)

    def get(self, key: str) -> Average | None:
        """What is known under a key."""
        return self._averages.get(key)

    def _add(self, key: str, value: float) -> None:
        self._given.clear()
        known = self._averages.get(key)
        if known is None:
            self.put(key, Average(value))
        else:
            known.add(value)
            self._averages.move_to_end(key)
        self.changed.add(key)


def _keys(profile: Profile, models: Models) -> Iterator[tuple[str, float]]:
    """From the most special to the most general, each with the size that durations are divided by there."""
    with_models = f"{profile.kind} {' '.join(sorted(models))}"
    yield f"{with_models} {profile.size:.4g}", 1.0
    yield with_models, profile.size
    yield profile.kind, profile.size
    yield "", 1.0
