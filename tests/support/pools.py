"""A gateway over simulated runners in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.api.services import Services
from gateway.app import gateway
from gateway.config import Config, DatabaseConfig, HealthConfig, RunnerConfig, ServerConfig, V1Config
from gateway.serving import listening
from gateway.simulator import Simulator, SimulatorOptions

READY_SECONDS = 20.0


@dataclass(slots=True)
class RunningPool:
    """``simulators`` in the order of the configuration; ``base`` is the gateway's URL."""

    simulators: list[Simulator]
    rooms: Services
    base: str
    config: Config

    def simulator(self, name: str) -> Simulator:
        """The simulated runner of that name."""
        return next(each for each in self.simulators if each.options.name == name)

    @property
    def executed(self) -> list[str]:
        """What ran to completion anywhere, by the runners' own ids."""
        return [prompt_id for simulator in self.simulators for prompt_id in simulator.executed]

    async def until(self, happens: Any) -> None:
        """Waits for a condition of the gateway's own state; fails past the patience."""
        async with asyncio.timeout(READY_SECONDS):
            while not happens():
                await asyncio.sleep(0.005)


@asynccontextmanager
async def running_pool(
    folder: Path,
    count: int = 3,
    *,
    options: Sequence[dict[str, Any]] = (),
    runners: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
) -> AsyncIterator[RunningPool]:
    """Starts simulated runners gpu-0, gpu-1 … and a gateway over them, ready for work.

    Args:
        folder: for the gateway's data.
        count: of runners.
        options: more SimulatorOptions, a dict for each runner.
        runners: more keys of every runner's configuration.
        config: more sections of the configuration.
    """
    async with AsyncExitStack() as stack:
        simulators = []
        for number in range(count):
            more = options[number] if number < len(options) else {}
            simulator = Simulator(SimulatorOptions(**{"name": f"gpu-{number}", "draw": False} | more))
            simulators.append(await stack.enter_async_context(simulator))
        async with gateway_over(folder, simulators, runners=runners, config=config) as pool:
            yield pool


@asynccontextmanager
async def gateway_over(
    folder: Path,
    simulators: list[Simulator],
    *,
    runners: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
) -> AsyncIterator[RunningPool]:
    """A gateway over runners that are there already; its data stays in ``folder`` for the next one."""
    settings = Config.model_validate(
        {
            "server": ServerConfig(port=0),
            "data_dir": folder,
            "database": DatabaseConfig(synchronous="normal"),
            "v1": V1Config(requests=None),
            "health": HealthConfig(interval_seconds=0.2, timeout_seconds=5, grace_seconds=2),
            "runners": [
                RunnerConfig(name=each.options.name, endpoint=each.url, **(runners or {})) for each in simulators
            ],
            **(config or {}),
        }
    )
    async with gateway(settings) as rooms, listening(settings, rooms) as port:
        pool = RunningPool(simulators, rooms, f"http://127.0.0.1:{port}{settings.server.prefix}", settings)
        await pool.until(lambda: len(rooms.pool.ready()) == len(simulators))
        yield pool
