"""The open attempts of live jobs, found by their runner and by the id that it knows them by; and how many slots they
take there. Their states are changed in the registry."""

from __future__ import annotations

from collections import Counter

from gateway.jobs.job import Attempt
from gateway.jobs.states import AttemptState


class OpenAttempts:
    """An index; whoever changes an attempt keeps it true."""

    def __init__(self) -> None:
        self._by_runner: dict[str, dict[str, Attempt]] = {}
        self._slots: Counter[str] = Counter()  # that are taken, by runner
        self._changes: Counter[str] = Counter()  # to them and to the attempts' states, by runner

    def add(self, attempt: Attempt) -> None:
        """An attempt is open."""
        self._by_runner.setdefault(attempt.runner, {})[attempt.runner_prompt_id] = attempt
        self._changes[attempt.runner] += 1

    def remove(self, attempt: Attempt) -> None:
        """An attempt is over, or is about to be known by another id."""
        self._by_runner.get(attempt.runner, {}).pop(attempt.runner_prompt_id, None)
        self._changes[attempt.runner] += 1

    def take(self, runner: str, slots: int) -> None:
        """An attempt has changed: so many more slots of its runner are taken, fewer where it is negative."""
        self._slots[runner] += slots
        self._changes[runner] += 1

    def slots(self, runner: str) -> int:
        """How many of a runner's slots are taken."""
        return self._slots[runner]

    def changes(self, runner: str) -> int:
        """Counts what changed among a runner's attempts: as long as it is the same, they are and stand as they did."""
        return self._changes[runner]

    def get(self, runner: str, runner_prompt_id: str) -> Attempt | None:
        """The one that a runner knows by that id."""
        return self._by_runner.get(runner, {}).get(runner_prompt_id)

    def on(self, runner: str) -> list[Attempt]:
        """Those on a runner, oldest first."""
        return list(self._by_runner.get(runner, {}).values())

    def running_on(self, runner: str) -> Attempt | None:
        """The one that a runner executes now."""
        attempts = self._by_runner.get(runner, {}).values()
        return next((attempt for attempt in attempts if attempt.state is AttemptState.RUNNING), None)

    def certainly_before(self, attempt: Attempt) -> frozenset[str]:
        """What has to leave an attempt's runner before a prompt begins that is posted at the very end now: the ids of
        what runs there, and of what the runner has queued with a number of its own."""
        return frozenset(
            other.runner_prompt_id
            for other in self.on(attempt.runner)
            if other.state is AttemptState.RUNNING or (other.state is AttemptState.HELD and other.has_its_turn)
        )
