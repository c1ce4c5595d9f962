"""The pool: all runners by name, and what they are together (merged catalogue, features, totals)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from gateway.comfyui import catalogue as catalogues
from gateway.comfyui import features, object_info
from gateway.comfyui.catalogue import Catalogue
from gateway.runners.runner import Runner


class Pool:
    """The runners, in the order of the configuration. The first ready one is the *primary*: where answers of several
    runners cannot be merged, its answer stands."""

    def __init__(self) -> None:
        self._runners: dict[str, Runner] = {}
        self._merged_for: tuple[tuple[str, int], ...] | None = None
        self._merged_info: dict[str, Any] = {}
        self._merged_catalogue = Catalogue({})

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
        """The merged /object_info of all runners whose catalogue is known, one snapshot until one of them changes."""
        self._merge()
        return self._merged_info

    def catalogue(self) -> Catalogue:
        """The union of the runners' catalogues."""
        self._merge()
        return self._merged_catalogue

    def features(self, max_upload_size: int) -> dict[str, Any]:
        """The feature flags that the pool can keep, as advertised on the websocket and by GET /features."""
        flags = [runner.facts.features for runner in self if runner.facts.catalogue is not None]
        return features.merge(flags, max_upload_size=max_upload_size)

    @property
    def version(self) -> tuple[tuple[str, int], ...]:
        """Changes whenever a runner's catalogue does: the key of whatever is computed from catalogues."""
        return tuple((runner.name, runner.catalogue_version) for runner in self if runner.facts.catalogue is not None)

    def _merge(self) -> None:
        version = self.version
        if version == self._merged_for:
            return
        infos = [(runner.name, runner.facts.object_info) for runner in self if runner.facts.catalogue is not None]
        self._merged_info = object_info.merge(infos)
        self._merged_catalogue = catalogues.parse(self._merged_info)
        self._merged_for = version
