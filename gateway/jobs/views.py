"""What policy sees of the pool now. A runner's view is made anew only when something in it has changed: every
submission asks for all of them."""

from __future__ import annotations

from typing import Any

from gateway.jobs.registry import Registry
from gateway.runners.pool import Pool
from gateway.runners.runner import Runner
from gateway.scheduling.placement import RunnerView


class Views:
    """The views of a pool's runners, in its order."""

    def __init__(self, registry: Registry, pool: Pool) -> None:
        self._registry = registry
        self._pool = pool
        self._known: dict[str, tuple[tuple[Any, ...], RunnerView]] = {}

    def all(self) -> list[RunnerView]:
        """One for each runner."""
        if len(self._known) > 2 * len(self._pool):
            self._known.clear()  # most are of runners that have gone
        return [self._of(runner) for runner in self._pool]

    def _of(self, runner: Runner) -> RunnerView:
        health = runner.health
        state = (
            runner.config,
            health.state,
            health.reason,
            runner.catalogue_version,
            runner.facts.catalogue,
            runner.capacity,
            self._registry.held(runner.name),
            runner.queue_remaining,
            runner.client.latency_seconds,
        )
        known = self._known.get(runner.name)
        if known is not None and known[0] == state:
            return known[1]
        view = self._made(runner)
        self._known[runner.name] = (state, view)
        return view

    def _made(self, runner: Runner) -> RunnerView:
        return RunnerView(
            name=runner.name,
            tags=frozenset(runner.config.tags),
            is_up=runner.is_ready,
            is_active=runner.config.status == "active",
            state=f"{runner.health.state.value}: {runner.health.reason}",
            catalogue=runner.facts.catalogue,
            catalogue_version=runner.catalogue_version,
            capacity=runner.capacity,
            held=self._registry.held(runner.name),
            busy=runner.queue_remaining,
            latency=runner.client.latency_seconds,
            weight=runner.config.weight,
            reserved_for=frozenset(runner.config.reserved_for),
        )
