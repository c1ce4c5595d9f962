"""Runners for tests of the simulator, and the replay of a recording against one."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from support.replay import SPEED, Recording, Replay, load
from support.servers import Direct

from gateway.simulator import Simulator, SimulatorOptions


@pytest.fixture
def recorded() -> Callable[[str], Recording]:
    """Gives the recording of a version."""
    return load


@pytest.fixture(params=["0.33.0", "0.3.64"])
async def replay(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Replay]:
    """A replay of a version's recording against a runner of that version."""
    options = SimulatorOptions(name="cpu", version=request.param, base_dir=tmp_path, checkpoints=(), speed=SPEED)
    async with Simulator(options) as runner, aiohttp.ClientSession(runner.url) as session:
        play = Replay(Direct(runner), session)
        await play.open()
        yield play


@pytest.fixture
async def make_runner(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Simulator]]]:
    """Starts runners with the options given; they stop at the end of the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(**options: Any) -> Simulator:
            name = options.setdefault("name", "gpu-0")
            options.setdefault("base_dir", tmp_path / name)
            options.setdefault("preview_size", 16)
            return await stack.enter_async_context(Simulator(SimulatorOptions(**options)))

        yield make


@pytest.fixture
async def runner(make_runner: Callable[..., Awaitable[Simulator]]) -> Simulator:
    """A runner that takes no time for anything."""
    return await make_runner()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client."""
    async with aiohttp.ClientSession() as client:
        yield client
