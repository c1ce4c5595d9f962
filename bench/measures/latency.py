"""What the gateway adds to ``POST /prompt``: against one runner, and against nginx in front of it."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from graphs import small, submission
from pool import Stage, proxied
from report import Found, Row
from wire import Measured, load

RUNNERS = 8
IDLE_REQUESTS = 400
HALF_LOAD = 400  # a second, about half of what one process takes
HALF_REQUESTS = 2_000
HALF_CONNECTIONS = 32
FLUSHES = 60
ADDED_P50_MS, ADDED_P99_MS = 1.0, 5.0


async def measure(stage: Stage) -> Found:
    found = Found("latency")
    runners = await stage.runners(RUNNERS)
    gateway = await stage.gateway(runners.all)
    nginx = await stage.nginx(proxied(runners.port(0)))
    if nginx is None:
        found.rows.append(Row("latency through nginx", "skipped", note="nginx is not installed"))

    async def compare(name: str, send: Callable[[int], Any]) -> None:
        direct = await send(runners.port(0))
        by_nginx = await send(nginx) if nginx is not None else None
        through = await send(gateway.port)
        flush = await asyncio.to_thread(_flush_ms, stage.folder / "flushed")
        found.rows.append(_row(name, through, direct, by_nginx, flush))

    async def one_by_one(port: int) -> Measured:
        requests = [submission(small(number)) for number in range(stage.some(IDLE_REQUESTS))]
        return await load(port, requests, stage.folder, 1, rate=200)

    await compare("POST /prompt, idle pool, jobs begin at once", one_by_one)
    await runners.pause()
    await load(gateway.port, [submission(small(number)) for number in range(3 * RUNNERS)], stage.folder, 1)
    await compare("POST /prompt, all GPUs busy, one at a time", one_by_one)

    async def at_half_load(port: int) -> Measured:
        requests = [submission(small(number)) for number in range(stage.some(HALF_REQUESTS))]
        return await load(port, requests, stage.folder, HALF_CONNECTIONS, rate=HALF_LOAD)

    await compare(f"POST /prompt, all GPUs busy, {HALF_LOAD}/s", at_half_load)
    return found


def _flush_ms(path: Path) -> float:
    """What one small write that is to survive a loss of power takes on this disk: the median."""
    took = []
    with path.open("wb") as file:
        for _ in range(FLUSHES):
            began = time.perf_counter()
            file.write(bytes(4_096))
            file.flush()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e3


def _row(name: str, through: Measured, direct: Measured, nginx: Measured | None, flush: float) -> Row:
    p50, p99 = ((through.quantile(q) - direct.quantile(q)) * 1e3 for q in (0.5, 0.99))
    against = f"direct {_told(direct)}" + (f"; nginx {_told(nginx)}" if nginx is not None else "")
    return Row(
        name,
        f"{p50:+.2f} ms p50, {p99:+.2f} ms p99",
        against,
        None,
        f"≤ {ADDED_P50_MS:g} ms, ≤ {ADDED_P99_MS:g} ms",
        p50 <= ADDED_P50_MS and p99 <= ADDED_P99_MS,
        f"in all {_told(through)}; a flush of this disk, of which each answer waits for one, takes {flush:.1f} ms",
    )


def _told(measured: Measured) -> str:
    return f"{measured.quantile(0.5) * 1e3:.2f} / {measured.quantile(0.99) * 1e3:.2f} ms"
