"""How much work arrives for each model: an exponential average, over a time in which loading it is a small part."""

from __future__ import annotations

import math
from collections.abc import Callable

from gateway.scheduling.snapshot import Models

SPAN = 15.0  # load times that the average looks back
SPAN_LEAST = 0.1  # seconds
MODELS_MOST = 5_000
GONE = 1e-6  # a demand below that is none


class Demand:
    """Seconds of work at speed 1 that arrive in a second, by model."""

    def __init__(self) -> None:
        self._rates: dict[str, tuple[float, float]] = {}  # and when it was that

    def add(self, models: Models, work: float, now: float, load: Callable[[str], float]) -> None:
        """A job with so much work has come."""
        for model in models:
            span = _span(load(model))
            rate, then = self._rates.pop(model, (0.0, now))
            self._rates[model] = rate * math.exp((then - now) / span) + work / span, now
        while len(self._rates) > MODELS_MOST:
            del self._rates[next(iter(self._rates))]

    def now(self, now: float, load: Callable[[str], float]) -> dict[str, float]:
        """By model; those for which nothing has come for long are left out, and forgotten."""
        found = {
            model: rate * math.exp((then - now) / _span(load(model))) for model, (rate, then) in self._rates.items()
        }
        for model, rate in found.items():
            if rate < GONE:
                del self._rates[model]
        return {model: rate for model, rate in found.items() if rate >= GONE}


def _span(load: float) -> float:
    return max(SPAN_LEAST, SPAN * load)
