"""What the gateway uses while nothing happens: ten thousand clients' sockets, a thousand runners."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from pool import Gateway, Stage, cpu_seconds, memory_mb, until
from report import Found, Row

SOCKETS = 10_000  # or as many files as the system lets a process open
RUNNERS = 1_000
REST_SECONDS = 10.0
REST = 0.05  # of a core
LISTENER = Path(__file__).parents[1] / "listener.py"


async def measure(stage: Stage) -> Found:
    found = Found("idle")
    few = await stage.runners(8)
    gateway = await stage.gateway(few.all)
    before = memory_mb(gateway.pid)
    holding = await asyncio.create_subprocess_exec(
        *(sys.executable, str(LISTENER), "hold", f"{gateway.url}/ws", str(stage.some(SOCKETS))),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert holding.stdout is not None
    try:
        count = int(await asyncio.wait_for(holding.stdout.readline(), 60))
        each = (memory_mb(gateway.pid) - before) * 1e3 / count
        rest = await _rest(gateway)
    finally:
        holding.kill()
        await holding.wait()
    found.rows.append(
        Row(
            f"{count:,} idle websockets",
            f"{each:.1f} kB each, {rest:.1%} of a core at rest",
            target="≤ 5 % of a core",
            met=rest <= REST,
        )
    )
    count = stage.some(RUNNERS)
    many = await stage.runners(count)
    large = await stage.gateway(many.all)
    each = (memory_mb(large.pid) - before) * 1e3 / count
    await until(lambda: _has_settled(large), "the start is done")
    rest = await _rest(large)
    found.rows.append(
        Row(
            f"{count:,} idle runners",
            f"{each:.0f} kB each, {rest:.1%} of a core at rest",
            target="≤ 5 % of a core",
            met=rest <= REST,
            note="each is asked for its health every 5 s",
        )
    )
    return found


async def _rest(gateway: Gateway) -> float:
    before = cpu_seconds(gateway.pid)
    await asyncio.sleep(REST_SECONDS)
    return (cpu_seconds(gateway.pid) - before) / REST_SECONDS


async def _has_settled(gateway: Gateway) -> bool:
    before = cpu_seconds(gateway.pid)
    await asyncio.sleep(1)
    return cpu_seconds(gateway.pid) - before < 0.5
