"""When runners that work may be given their next job, by what is expected of those that they hold and by how long a
dispatch to them takes. The rule is `gateway.scheduling.ahead`'s; it is asked anew when a job comes to a runner, begins
or leaves it, so that looking at a pool costs next to nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from gateway.clock import Clock
from gateway.jobs.job import Attempt
from gateway.jobs.registry import Registry
from gateway.runners.runner import Runner
from gateway.scheduling import ahead

NEWEST = 0.2  # share of the newest dispatch in the average


class Openings:
    """Seconds are the clock's. ``until_end`` tells how long an attempt is still expected to take, None where nothing is
    known of such jobs."""

    def __init__(self, registry: Registry, clock: Clock, until_end: Callable[[Attempt, Runner], float | None]) -> None:
        self._registry = registry
        self._clock = clock
        self._until_end = until_end
        self._opens_at: dict[str, tuple[int, float]] = {}  # by runner, for which changes to its attempts that holds
        self._dispatches: dict[str, float] = {}  # how long they take, by runner

    def opens_in(self, runner: Runner) -> float:
        """Seconds until a runner may be given one more job if it has room; 0 where that is now."""
        changes, now = self._registry.changes_on(runner.name), self._clock.monotonic()
        known = self._opens_at.get(runner.name)
        if known is None or known[0] != changes:
            known = self._opens_at[runner.name] = changes, now + self._found(runner)
        return max(0.0, known[1] - now)

    def soonest(self, runners: Iterable[Runner], *, but_now: bool = False) -> float:
        """Seconds until one of these runners has room for a job and may be given it; infinite where none has room.
        ``but_now``: of those that may not be given one yet."""
        soonest = math.inf
        for runner in runners:
            held = self._registry.held(runner.name)
            if runner.is_ready and runner.config.status == "active" and held < runner.capacity:
                opens_in = self.opens_in(runner) if held else 0.0
                if opens_in > 0 or not but_now:
                    soonest = min(soonest, opens_in)
                    if soonest <= 0:
                        return 0.0
        return soonest

    def dispatched(self, runner: str, seconds: float) -> None:
        """A dispatch took so long, from the decision to the runner's answer."""
        known = self._dispatches.get(runner, seconds)
        self._dispatches[runner] = known + NEWEST * (seconds - known)

    def _found(self, runner: Runner) -> float:
        held = (attempt for attempt in self._registry.attempts_on(runner.name) if attempt.takes_a_slot)
        left = [self._until_end(attempt, runner) for attempt in held]
        return ahead.opens_in(left, ahead.lead_for(self._dispatches.get(runner.name, 0.0))) if left else 0.0
