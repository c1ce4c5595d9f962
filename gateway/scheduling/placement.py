"""Which runners could take a job at all, and why the others could not. Which of them gets it, and when, is decided in
`policies`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.comfyui.catalogue import Catalogue
from gateway.scheduling.needs import Needs, Verdict, judge, tags_fit


@dataclass(frozen=True, slots=True)
class RunnerView:
    """What policy sees of a runner, at one moment.

    ``held``: jobs of the gateway on it; ``busy``: its queue by its own count, whoever submitted; ``latency``: seconds;
    ``weight``: how much work it takes in the time in which a runner of weight 1 does one job. ``reserved_for``: owners
    and tags, of which a job must have one; empty for everyone.
    """

    name: str
    tags: frozenset[str]
    is_up: bool
    is_active: bool
    state: str
    catalogue: Catalogue | None
    catalogue_version: int
    capacity: int
    held: int
    busy: int
    latency: float
    weight: float = 1.0
    reserved_for: frozenset[str] = frozenset()

    @property
    def has_room(self) -> bool:
        """True when it may be given one more job."""
        return self.held < self.capacity

    @property
    def work(self) -> int:
        """Jobs before a new one: the gateway's, or the runner's own count where others use it too."""
        return max(self.held, self.busy)


@dataclass(frozen=True, slots=True)
class Placement:
    """Which runner was chosen and why; ``considered`` has each runner with the reason for or against it."""

    runner: str | None
    reason: str
    considered: tuple[tuple[str, str], ...]


RESERVED = Verdict(False, "reserved for others")


def admits(runner: RunnerView, needs: Needs) -> bool:
    """Whether the runner takes such jobs at all: it is not reserved, or for their owner or one of their tags."""
    return not runner.reserved_for or needs.owner in runner.reserved_for or bool(needs.tags & runner.reserved_for)


@dataclass(slots=True)
class Judge:
    """Remembers verdicts: the same needs on the same catalogue are judged once."""

    _verdicts: dict[tuple[Needs, str, int, frozenset[str], frozenset[str]], Verdict] = field(default_factory=dict)
    most: int = 50_000

    def verdict(self, needs: Needs, runner: RunnerView) -> Verdict:
        """Whether the runner has what is needed; its health and load are not looked at."""
        key = (needs, runner.name, runner.catalogue_version, runner.tags, runner.reserved_for)
        known = self._verdicts.get(key)
        if known is None:
            if len(self._verdicts) >= self.most:
                self._verdicts.clear()
            known = judge(needs, runner.tags, runner.catalogue) if admits(runner, needs) else RESERVED
            self._verdicts[key] = known
        return known


def eligible(
    needs: Needs, runners: Sequence[RunnerView], judge_: Judge, refused_by: frozenset[str] = frozenset()
) -> list[RunnerView]:
    """Runners that are up, active, and have what is needed."""
    return [
        runner
        for runner in runners
        if runner.is_up and runner.is_active and runner.name not in refused_by and judge_.verdict(needs, runner).fits
    ]


def could_become_eligible(needs: Needs, runners: Sequence[RunnerView], judge_: Judge) -> bool:
    """True when an active runner would do if it were up: then a job may wait for it."""
    return any(runner.is_active and judge_.verdict(needs, runner).fits for runner in runners)


def stranded(needs: Needs, runners: Sequence[RunnerView], judge_: Judge, refused_by: Mapping[str, str]) -> str | None:
    """Why no runner of the pool could ever run the job, runner by runner; ``refused_by`` has their words by name.

    None while one could: up or not, and disabled ones too, because an operator may enable them. A pool without runners
    says nothing.
    """
    reasons = []
    for runner in runners:
        verdict = judge_.verdict(needs, runner)
        if verdict.fits and runner.name not in refused_by:
            return None
        reasons.append(f"{runner.name}: {verdict.reason or refused_by[runner.name]}")
    return "; ".join(reasons) or None


def reachable(needs: Needs, runners: Sequence[RunnerView]) -> list[RunnerView]:
    """Runners that may be asked about a job that none is equipped for: up, active, and their tags fit."""
    return [
        runner
        for runner in runners
        if runner.is_up and runner.is_active and tags_fit(needs.tags, runner.tags) and admits(runner, needs)
    ]


def most_responsive(candidates: Sequence[RunnerView]) -> RunnerView | None:
    """The one that answers HTTP fastest: where a prompt is validated while every runner is busy."""
    return min(candidates, key=lambda runner: runner.latency, default=None)


def obstacle(needs: Needs, runner: RunnerView, judge_: Judge, refused_by: frozenset[str]) -> str:
    """Why the runner cannot have the job at all; "" if it can."""
    if not runner.is_active:
        return "disabled"
    if not runner.is_up:
        return runner.state
    if runner.name in refused_by:
        return "refused this prompt"
    verdict = judge_.verdict(needs, runner)
    return verdict.reason
