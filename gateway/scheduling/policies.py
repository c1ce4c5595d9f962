"""The policies by their names in the YAML. Each decides by a snapshot alone."""

from __future__ import annotations

from typing import Protocol

from gateway.scheduling.snapshot import RunnerNow, Snapshot
from gateway.scheduling.warm import Decision, WarmFirst


class Policy(Protocol):
    """Chooses the next job to give out, and the runner."""

    def pick(self, now: Snapshot) -> Decision | None:
        """None: every runner with room does best to wait, or nothing fits."""


class LeastWork:
    """The runner with the least work takes what is due first; what it has loaded is not looked at."""

    def pick(self, now: Snapshot) -> Decision | None:
        """See Policy."""
        return _first_that_fits(now, sorted(_with_room(now), key=_by_work))


class RoundRobin:
    """The runners take what is due first in turns."""

    def pick(self, now: Snapshot) -> Decision | None:
        """See Policy."""
        return _first_that_fits(now, sorted(_with_room(now), key=lambda runner: (runner.last_given, runner.name)))


POLICIES: dict[str, Policy] = {"warm": WarmFirst(), "least_work": LeastWork(), "round_robin": RoundRobin()}


def _with_room(now: Snapshot) -> list[RunnerNow]:
    return [runner for runner in now.runners if runner.takes_more]


def _by_work(runner: RunnerNow) -> tuple[float, float]:
    return (runner.queue + 1) / runner.speed, round(runner.latency, 3)


def _first_that_fits(now: Snapshot, runners: list[RunnerNow]) -> Decision | None:
    for runner in runners:
        for line in now.lines:
            if runner.name in line.runners:
                load = now.missing(runner, line.models)
                return Decision(line.head, runner.name, f"{runner.queue} before it on {runner.name}", load)
    return None
