"""What policy decides by: the runners, the lines of waiting jobs and what is known of models, at one moment. Immutable:
the same snapshot gives the same decision. All durations are seconds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

Models = frozenset[str]
Due = tuple[int, float, float, float, int]  # lowest priority last, owner's tag, client's tag, number, age
UNKNOWN_LOAD_SECONDS = 10.0  # of a model that no runner has loaded yet


@dataclass(frozen=True, slots=True)
class RunnerNow:
    """A runner that is up and active.

    Attributes:
        name: the runner's.
        room: how many more jobs it may be given.
        held: how many it has; with none it is idle.
        speed: of a runner that does in one second what the slowest reference does in one, so 2 is twice as fast.
        warm: its models, least recently used first, as they will be when what it holds is done.
        keeps: how many heavy models it keeps loaded.
        ready_in: until what it holds is done.
        residence: for how long it has worked since it last loaded a model for a line that was overdue.
        latency: of its HTTP answers.
        queue: how many jobs it has by its own count, whoever gave them to it; at least ``held``.
        last_given: counts the jobs that were given out, up to the last one that it got.
        opens_in: until it may be given a job behind what it holds, see `ahead`; 0 where that is now.
    """

    name: str
    room: int
    held: int
    speed: float = 1.0
    warm: tuple[str, ...] = ()
    keeps: int = 1
    ready_in: float = 0.0
    residence: float = float("inf")
    latency: float = 0.0
    queue: int = 0
    last_given: int = 0
    opens_in: float = 0.0

    @property
    def takes_more(self) -> bool:
        """Whether it may be given one more job now."""
        return self.room > 0 and self.opens_in <= 0


@dataclass(frozen=True, slots=True)
class Line:
    """Waiting jobs that fit the same runners and use the same models; only its head can go.

    Attributes:
        head: the id of the job that is due first.
        due: orders heads of lines; lower goes first.
        models: what its jobs load.
        runners: the names of those that fit, whether they have room or not.
        count: how many wait.
        work: what they take at speed 1 with everything loaded.
        head_work: what the head takes.
        unserved: since the head waits, or since a job of this line began, whichever is later.
        owner: of the head.
    """

    head: str
    due: Due
    models: Models
    runners: frozenset[str]
    count: int
    work: float
    head_work: float
    unserved: float
    owner: str = ""

    def lags_behind(self, other: Line) -> float:
        """How many seconds of GPU time the head's owner has had less than the other's, weights considered; of clients
        where both have the same owner. Infinite where the head has a higher priority, 0 or less where it is not its
        turn before the other."""
        if self.due[0] != other.due[0]:
            return math.inf if self.due[0] < other.due[0] else -math.inf
        level = 2 if self.owner == other.owner else 1
        return other.due[level] - self.due[level]


@dataclass(frozen=True)
class Snapshot:
    """Everything a decision depends on.

    ``lines`` are in the order of their heads. ``loads`` has the load time of each model that is known; ``demand`` the
    work that arrives for each model, in seconds at speed 1 for every second. ``typical_load`` stands for what is not
    known.
    """

    runners: tuple[RunnerNow, ...]
    lines: tuple[Line, ...]
    loads: Mapping[str, float] = field(default_factory=dict)
    demand: Mapping[str, float] = field(default_factory=dict)
    typical_load: float = UNKNOWN_LOAD_SECONDS

    @cached_property
    def by_name(self) -> dict[str, RunnerNow]:
        """The runners by name."""
        return {runner.name: runner for runner in self.runners}

    @cached_property
    def holders(self) -> dict[str, frozenset[str]]:
        """Which runners have a model loaded."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for runner in self.runners:
            for model in runner.warm:
                found[model].add(runner.name)
        return {model: frozenset(names) for model, names in found.items()}

    @cached_property
    def idle(self) -> dict[str, RunnerNow]:
        """The runners that do nothing."""
        return {runner.name: runner for runner in self.runners if runner.held == 0 and runner.room > 0}

    @cached_property
    def almost_idle(self) -> dict[str, RunnerNow]:
        """The runners that work and may be given one more job now."""
        return {runner.name: runner for runner in self.runners if runner.held > 0 and runner.takes_more}

    def load(self, model: str) -> float:
        """How long the model takes to load."""
        return self.loads.get(model, self.typical_load)

    def warm_for(self, models: Models) -> frozenset[str] | None:
        """The runners that have all of these loaded; None for no models at all: every runner."""
        found: frozenset[str] | None = None
        for model in models:
            holders = self.holders.get(model, frozenset())
            found = holders if found is None else found & holders
        return found

    def missing(self, runner: RunnerNow, models: Models) -> float:
        """How long the runner would have to load before a job with these models begins."""
        return sum(self.load(model) for model in models if model not in runner.warm)
