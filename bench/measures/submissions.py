"""Prompts accepted per second, durable and validated, while every GPU is busy; against one runner alone."""

from __future__ import annotations

import tempfile
from pathlib import Path

from graphs import large, small, submission
from pool import Stage, cpu_seconds
from report import Found, Row
from wire import load

RUNNERS = 8
CONNECTIONS = 64
IN_MEMORY = Path("/dev/shm")  # to tell what the disk's flushes cost
TARGET = 1_000  # a second, with the small graph
GRAPHS = (("small graph", small, 5_000), ("100 nodes", large, 1_200))
WARMING = 200  # prompts


async def measure(stage: Stage) -> Found:
    found = Found("submissions")
    runners = await stage.runners(RUNNERS)
    await runners.pause()
    gateway = await stage.gateway(runners.all)
    for name, graph, most in GRAPHS:
        count = stage.some(most)
        requests = [submission(graph(number)) for number in range(count)]
        await load(runners.port(0), requests[:WARMING], stage.folder, CONNECTIONS)
        direct = await load(runners.port(0), requests, stage.folder, CONNECTIONS)
        async with stage.http.post(f"{runners.all[0].url}/queue", json={"clear": True}) as response:
            assert response.status == 200
        await load(gateway.port, requests[:WARMING], stage.folder, CONNECTIONS)
        before = cpu_seconds(gateway.pid)
        through = await load(gateway.port, requests, stage.folder, CONNECTIONS)
        used = (cpu_seconds(gateway.pid) - before) / count
        is_small = graph is small
        found.rows.append(
            Row(
                f"submissions, {name}, {RUNNERS} busy runners",
                f"{through.rate:,.0f}/s",
                f"{direct.rate:,.0f}/s, one simulated runner",
                through.rate / direct.rate,
                f"≥ {TARGET:,}/s" if is_small else "",
                through.rate >= TARGET if is_small else None,
                f"{used * 1e6:,.0f} µs of processor time each; {CONNECTIONS} connections: "
                f"p50 {through.quantile(0.5) * 1e3:.0f} ms, p99 {through.quantile(0.99) * 1e3:.0f} ms",
            )
        )
    if IN_MEMORY.is_dir():
        with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
            found.rows.append(await _in_memory(Path(folder) / "stage", stage.part))
    return found


async def _in_memory(folder: Path, part: float) -> Row:
    async with Stage.open(folder, part) as stage:
        runners = await stage.runners(RUNNERS)
        await runners.pause()
        gateway = await stage.gateway(runners.all)
        requests = [submission(small(number)) for number in range(stage.some(GRAPHS[0][2]))]
        await load(gateway.port, requests[:WARMING], stage.folder, CONNECTIONS)
        before = cpu_seconds(gateway.pid)
        through = await load(gateway.port, requests, stage.folder, CONNECTIONS)
        used = (cpu_seconds(gateway.pid) - before) / len(requests)
    note = f"a disk that flushes at once; {used * 1e6:,.0f} µs of processor time each"
    return Row("the same with the small graph, data in memory", f"{through.rate:,.0f}/s", note=note)
