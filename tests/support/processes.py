"""The gateway and simulated runners as processes of their own, which can be killed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

PATIENCE_SECONDS = 60.0
SHUTDOWN_SECONDS = 10.0
WORKERS_MOST = 16  # of pytest, each with ports of its own
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS_MOST
PORTS = range(15_000 + WORKER, 30_000, WORKERS_MOST)  # below those that the system gives to outgoing connections


async def until(
    holds: Callable[[], Awaitable[Any]], what: str, seconds: float = PATIENCE_SECONDS, *, every: float = 0.01
) -> Any:
    """Asks again and again until the answer is true, and returns it: another process has no event to wait for."""
    try:
        async with asyncio.timeout(seconds):
            while not (answer := await holds()):
                await asyncio.sleep(every)
    except TimeoutError:
        raise AssertionError(f"not within {seconds:g} s: {what}") from None
    return answer


def free_port() -> int:
    """A port that nobody listens on, and that no outgoing connection and no other worker will take: a server that is
    away for a while finds it free again."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def free_ports(count: int) -> list[int]:
    """So many different ones."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return list(found)


@dataclass(slots=True)
class Child:
    """A process that serves HTTP at ``url``; everything it writes is in ``log``."""

    process: asyncio.subprocess.Process
    url: str
    log: Path

    @property
    def output(self) -> str:
        """What it has written so far."""
        return self.log.read_text()

    async def kill(self) -> None:
        """``kill -9``."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def terminate(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), PATIENCE_SECONDS)


@asynccontextmanager
async def child(url: str, log: Path, *arguments: str, alive: str) -> AsyncIterator[Child]:
    """Starts ``python -m`` with these arguments, waits until GET ``alive`` answers 200, and kills it at the end."""
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *arguments, stdout=output, stderr=asyncio.subprocess.STDOUT
        )
    running = Child(process, url, log)
    try:
        async with aiohttp.ClientSession() as http:
            await until(lambda: _answers(running, http, alive), f"{url} answers; it wrote:\n{running.output}")
        yield running
    finally:
        await running.kill()


async def _answers(running: Child, http: aiohttp.ClientSession, path: str) -> bool:
    assert running.process.returncode is None, running.output
    try:
        async with http.get(running.url + path) as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


class RunnerProcess:
    """A simulated runner in a process of its own, steered over HTTP."""

    def __init__(self, name: str, running: Child, http: aiohttp.ClientSession) -> None:
        self.name = name
        self.url = running.url
        self._http = http

    async def state(self) -> dict[str, Any]:
        """``/simulator/state``."""
        async with self._http.get(f"{self.url}/simulator/state") as response:
            state: dict[str, Any] = await response.json()
            return state

    async def executed(self) -> list[dict[str, Any]]:
        """The graphs that it has executed, one for each time; under which ids is the gateway's own business."""
        async with self._http.get(f"{self.url}/history") as response:
            entries = await response.json()
        times = (await self.state())["executed"].items()
        return [entries[prompt_id]["prompt"][2] for prompt_id, count in times for _ in range(count)]

    async def control(self, action: str, **body: Any) -> None:
        """One of its control routes."""
        async with self._http.post(f"{self.url}/simulator/{action}", json=body) as response:
            assert response.status == 200, await response.text()

    async def until_held(self) -> None:
        """Waits until a job stands at the closed gate."""
        await until(self._is_held, f"{self.name} holds a job")

    async def until_idle(self) -> None:
        """Waits until it has nothing to do."""
        await until(self._is_idle, f"{self.name} is idle")

    async def _is_held(self) -> bool:
        return bool((await self.state())["held"])

    async def _is_idle(self) -> bool:
        return (await self.state())["queue_remaining"] == 0


@asynccontextmanager
async def runner_processes(folder: Path, count: int) -> AsyncIterator[list[RunnerProcess]]:
    """Simulated runners gpu-0, gpu-1 …, each in a process of its own."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        started = await asyncio.gather(
            *(_start_runner(stack, folder / f"gpu-{number}", http) for number in range(count))
        )
        yield started


async def _start_runner(stack: AsyncExitStack, folder: Path, http: aiohttp.ClientSession) -> RunnerProcess:
    port = free_port()
    running = await stack.enter_async_context(
        child(
            f"http://127.0.0.1:{port}",
            folder.with_suffix(".log"),
            *("gateway.simulator", "--port", str(port), "--name", folder.name, "--no-draw"),
            *("--base-directory", str(folder)),
            alive="/system_stats",
        )
    )
    return RunnerProcess(folder.name, running, http)


def write_config(folder: Path, runners: Sequence[RunnerProcess], **sections: Any) -> Path:
    """The configuration of a gateway over these runners, on a port of its own; lives of the gateway share it."""
    path = folder / "config.yaml"
    settings = {
        "server": {"port": free_port(), "shutdown_seconds": SHUTDOWN_SECONDS},
        "data_dir": str(folder / "data"),
        "health": {"interval_seconds": 0.2, "grace_seconds": 5},
        "runners": [{"name": runner.name, "endpoint": runner.url} for runner in runners],
        **sections,
    }
    path.write_text(yaml.safe_dump(settings))
    return path


@asynccontextmanager
async def gateway_process(config: Path) -> AsyncIterator[Child]:
    """The gateway as its users start it, ready."""
    port = yaml.safe_load(config.read_text())["server"]["port"]
    arguments = ("gateway", "serve", "--config", str(config))
    log = config.with_name("gateway.log")
    async with child(f"http://127.0.0.1:{port}", log, *arguments, alive="/gateway/ready") as running:
        yield running
