"""The pool: all runners by name, and what they are together (merged catalogue, features, totals)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from gateway.comfyui import catalogue as catalogues
from gateway.comfyui import features, object_info
from gateway.comfyui.catalogue import Catalogue
from gateway.comfyui.object_info import Conflict
from gateway.runners.runner import Runner, RunnerState

NAMED_IN_LOG_MOST = 10  # node classes

log = structlog.get_logger(__name__)

Version = tuple[int, ...]  # of the different catalogues, in the order of the runners


@dataclass(frozen=True, slots=True)
class _Look:
    """What was seen of the runners that are shown, while `Runner.changes` was ``at``."""

    at: int
    version: Version
    security_policy: str


class Pool:
    """The runners, in the order of the configuration. The first ready one is the *primary*: where answers of several
    runners cannot be merged, its answer stands."""

    def __init__(self) -> None:
        self._runners: dict[str, Runner] = {}
        self._known_catalogue = Catalogue({})
        self._known_for: Version | None = None
        self._shown_info: dict[str, Any] = {}
        self._shown_for: Version | None = None
        self._seen = _Look(-1, (), "")
        self._conflicts: frozenset[Conflict] = frozenset()

    def __iter__(self) -> Iterator[Runner]:
        return iter(self._runners.values())

    def __len__(self) -> int:
        return len(self._runners)

    def get(self, name: str) -> Runner | None:
        """Returns the runner of that name."""
        return self._runners.get(name)

    def add(self, runner: Runner) -> None:
        """Takes a runner in; it is not started by this."""
        self._runners[runner.name] = runner
        Runner.changes += 1

    def remove(self, name: str) -> None:
        """Lets a runner go; it is not stopped by this."""
        self._runners.pop(name, None)
        Runner.changes += 1

    def arrange(self, names: Sequence[str]) -> None:
        """Puts the runners in this order; those that it does not name come last."""
        place = {name: index for index, name in enumerate(names)}
        self._runners = dict(sorted(self._runners.items(), key=lambda item: place.get(item[0], len(place))))
        Runner.changes += 1

    def start(self) -> None:
        """Starts every runner."""
        for runner in self:
            runner.start()

    async def stop(self) -> None:
        """Stops every runner."""
        await asyncio.gather(*(runner.stop() for runner in self))

    def ready(self) -> list[Runner]:
        """Runners that are up, disabled ones included: they still answer questions and serve files."""
        return [runner for runner in self if runner.is_ready]

    @property
    def primary(self) -> Runner | None:
        """The first ready runner."""
        return next((runner for runner in self if runner.is_ready), None)

    def object_info(self) -> dict[str, Any]:
        """The merged /object_info, one snapshot until ``shown_version`` changes; its parts are not to be changed.

        A runner that is down keeps its node classes in it, so that a restart does not turn its nodes red in open tabs;
        one that is LOST does not, unless nothing else is known.
        """
        version = self.shown_version
        if version != self._shown_for:
            infos = [(runner.name, runner.facts.object_info) for runner in self._shown()]
            self._shown_info = object_info.merge(infos)
            self._shown_for = version
            self._tell_conflicts(frozenset(object_info.conflicts(infos)))
        return self._shown_info

    def catalogue(self) -> Catalogue:
        """The union of the catalogues of all runners that were ever ready: a job may wait for one that is lost."""
        version = self.version
        if version != self._known_for:
            if version == self.shown_version:
                info = self.object_info()
            else:
                info = object_info.merge([(runner.name, runner.facts.object_info) for runner in self._known()])
            self._known_catalogue = catalogues.parse(info)
            self._known_for = version
        return self._known_catalogue

    def features(self, max_upload_size: int) -> dict[str, Any]:
        """The feature flags that the pool can keep, as advertised on the websocket and by GET /features."""
        return features.merge([runner.facts.features for runner in self._known()], max_upload_size=max_upload_size)

    def security_policy(self) -> str:
        """The Content-Security-Policy that every runner was told to send, the first one's words; "" if one has none:
        its nodes may need what the others' policy forbids to the page."""
        return self._look().security_policy

    @property
    def version(self) -> Version:
        """Changes whenever a runner's catalogue does: the key of whatever is computed from catalogues."""
        return _version_of(self._known())

    @property
    def shown_version(self) -> Version:
        """Changes whenever ``object_info`` does; empty while no catalogue is known."""
        return self._look().version

    def _look(self) -> _Look:
        """Every answer asks for some of it: a walk through all runners only after a change."""
        if self._seen.at != Runner.changes:
            shown = self._shown()
            policies = [runner.facts.security_policy for runner in shown]
            policy = policies[0] if policies and all(policies) else ""
            self._seen = _Look(Runner.changes, _version_of(shown), policy)
        return self._seen

    def _known(self) -> list[Runner]:
        return [runner for runner in self if runner.facts.catalogue is not None]

    def _shown(self) -> list[Runner]:
        known = self._known()
        return [runner for runner in known if runner.health.state is not RunnerState.LOST] or known

    def _tell_conflicts(self, conflicts: frozenset[Conflict]) -> None:
        """Logs what the runners newly define differently, one line for each way in which they fall into groups."""
        by_groups: dict[tuple[tuple[str, ...], ...], list[str]] = {}
        for conflict in conflicts - self._conflicts:
            by_groups.setdefault(conflict.groups, []).append(conflict.class_type)
        self._conflicts = conflicts
        for groups, classes in by_groups.items():
            log.warning(
                "pool.conflicting_definitions",
                count=len(classes),
                classes=sorted(classes)[:NAMED_IN_LOG_MOST],
                runners=[list(group) for group in groups],
            )


def _version_of(runners: list[Runner]) -> Version:
    return tuple(dict.fromkeys(runner.catalogue_version for runner in runners))
