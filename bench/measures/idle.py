"""What the gateway uses while nothing happens: ten thousand clients' sockets, a thousand runners.

Two gateways, one with the sockets and one with the runners. The first one rests while the second one starts and is
measured, so that several rounds of pings are in its figure.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pool import Gateway, Stage, cpu_seconds, memory_mb, until
from report import Found, Row

from gateway.config import SessionsConfig

SOCKETS = 10_000  # or as many files as the system lets a process open
RUNNERS = 1_000
REST_SECONDS = 10.0  # two rounds of health checks
PINGS_SECONDS = SessionsConfig().heartbeat_seconds  # in which each socket is pinged once
REST = 0.05  # of a core
OPEN_SECONDS = 60.0  # in which all sockets have to stand
LISTENER = Path(__file__).parents[1] / "listener.py"


async def measure(stage: Stage) -> Found:
    few = await stage.runners(8)
    gateway = await stage.gateway(few.all)
    empty_mb = memory_mb(gateway.pid)
    async with _held(gateway, stage.some(SOCKETS)) as count:
        rest = Rest(gateway)
        each = (memory_mb(gateway.pid) - empty_mb) * 1e3 / count
        of_runners = await _runners(stage, stage.some(RUNNERS), empty_mb)
        await asyncio.sleep(max(0.0, PINGS_SECONDS - rest.seconds))
        of_sockets = _row(f"{count:,} idle websockets", each, rest.part, f"each is pinged every {PINGS_SECONDS:g} s")
    return Found("idle", [of_sockets, of_runners])


class Rest:
    """What a gateway has used since this was made."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._began, self._used = time.perf_counter(), cpu_seconds(gateway.pid)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    @property
    def part(self) -> float:
        """Of a core."""
        return (cpu_seconds(self._gateway.pid) - self._used) / self.seconds


@asynccontextmanager
async def _held(gateway: Gateway, count: int) -> AsyncIterator[int]:
    """So many sockets stand; yields how many it could be."""
    holding = await asyncio.create_subprocess_exec(
        *(sys.executable, str(LISTENER), "hold", f"{gateway.url}/ws", str(count)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert holding.stdout is not None
    try:
        yield int(await asyncio.wait_for(holding.stdout.readline(), OPEN_SECONDS))
    finally:
        holding.kill()
        await holding.wait()


async def _runners(stage: Stage, count: int, empty_mb: float) -> Row:
    many = await stage.runners(count)
    gateway = await stage.gateway(many.all)
    each = (memory_mb(gateway.pid) - empty_mb) * 1e3 / count
    await until(lambda: _has_settled(gateway), "the start is done")
    rest = Rest(gateway)
    await asyncio.sleep(REST_SECONDS)
    return _row(f"{count:,} idle runners", each, rest.part, "each is asked for its health every 5 s")


async def _has_settled(gateway: Gateway) -> bool:
    rest = Rest(gateway)
    await asyncio.sleep(1)
    return rest.part < 0.5


def _row(what: str, each_kb: float, rest: float, note: str) -> Row:
    figure = f"{each_kb:.0f} kB each, {rest:.1%} of a core at rest"
    return Row(what, figure, target="≤ 5 % of a core", met=rest <= REST, note=note)
