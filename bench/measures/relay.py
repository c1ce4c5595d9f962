"""Websocket messages on their way from a runner to their owner: against a relay of a few lines that parses each as JSON
and passes it on."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from graphs import small
from pool import Child, RunnerProcess, Runners, Stage, free_port
from report import Found, Row

LISTENER = Path(__file__).parents[1] / "listener.py"
LONGEST_SECONDS = 60.0
KINDS = (("text", 0, 60_000), ("previews of 50 kB", 50_000, 6_000))
RATIO = 0.6
PACED = 5_000  # messages a second
PACED_MESSAGES = 20_000
ADDED_P99_MS = 3.0


async def measure(stage: Stage) -> Found:
    found = Found("relay")
    runners = await _flooding(stage)
    gateway = await stage.gateway(runners.all[1:])
    bare = await _bare_relay(stage, runners.all[0].url)
    for name, size, most in KINDS:
        count = stage.some(most)
        by_bare = await _listened(stage, bare, runners.all[0], runners.all[0].url, count, size)
        through = await _listened(stage, gateway.url, runners.all[1], gateway.url, count, size)
        ratio = through["rate"] / by_bare["rate"]
        lost = count - through["count"]
        note = "" if not lost else f"{lost:,} of {count:,} did not come: the client was too slow for them"
        found.rows.append(
            Row(
                f"websocket relay, {name}",
                f"{through['rate']:,.0f}/s",
                f"bare relay {by_bare['rate']:,.0f}/s",
                ratio,
                f"≥ {RATIO} ×",
                ratio >= RATIO,
                note,
            )
        )
    by_bare = await _listened(stage, bare, runners.all[0], runners.all[0].url, stage.some(PACED_MESSAGES), 0, PACED)
    through = await _listened(stage, gateway.url, runners.all[1], gateway.url, stage.some(PACED_MESSAGES), 0, PACED)
    added = through["p99_ms"] - by_bare["p99_ms"]
    found.rows.append(
        Row(
            f"websocket relay, text at {PACED:,}/s",
            f"{added:+.2f} ms p99",
            f"bare relay p50 {by_bare['p50_ms']:.2f}, p99 {by_bare['p99_ms']:.2f} ms",
            None,
            f"≤ {ADDED_P99_MS:g} ms",
            added <= ADDED_P99_MS,
            f"in all p50 {through['p50_ms']:.2f}, p99 {through['p99_ms']:.2f} ms",
        )
    )
    return found


async def _flooding(stage: Stage) -> Runners:
    """Two runners, one for the bare relay and one for the gateway."""
    log, ports = stage.sub("flooding") / "log", [free_port(), free_port()]
    url = f"http://127.0.0.1:{ports[1]}"
    started = await stage.start(url, log, "bench.flooding", *map(str, ports), alive="/system_stats")
    each = [Child(started.process, f"http://127.0.0.1:{port}", started.log) for port in ports]
    return Runners(started, [RunnerProcess(f"gpu-{n}", one, stage.http) for n, one in enumerate(each)])


async def _bare_relay(stage: Stage, upstream: str) -> str:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    await stage.start(url, stage.sub("bare") / "log", "bench.bare_relay", str(port), upstream, alive="/")
    return url


async def _listened(
    stage: Stage, sockets: str, runner: RunnerProcess, prompts: str, count: int, size: int, rate: int = 0
) -> dict[str, Any]:
    """What a client hears over a socket of ``sockets``, while a job that was posted to ``prompts`` runs on the runner,
    of which so many messages come."""
    await runner.control("pause", after=0)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(LISTENER), "listen", f"{sockets}/ws?clientId=bench", str(count), runner.url),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        await asyncio.wait_for(process.stdout.readline(), 20)
        body = {"prompt": small(time.time_ns() % 2**31), "client_id": "bench"}
        async with stage.http.post(f"{prompts}/prompt", json=body) as response:
            assert response.status == 200, await response.text()
        await runner.until_held()
        flood = {"count": count, "size": size, "rate": rate}
        async with stage.http.post(f"{runner.url}/bench/flood", json=flood) as response:
            assert response.status == 200, await response.text()
        found: dict[str, Any] = json.loads(await asyncio.wait_for(process.stdout.readline(), LONGEST_SECONDS))
        return found
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await runner.control("resume")
        await runner.until_idle()
