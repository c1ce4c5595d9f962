"""What a submission costs, against the least that a gateway can be, `bench/bare_proxy.py`, measured in the same run.
Processor time is compared, since who else uses the cores changes how long things take."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "bench"))

from graphs import small, submission
from pool import Stage, cpu_seconds, free_port
from wire import load

RUNNERS, CONNECTIONS = 8, 32
WARMING, PROMPTS = 150, 1_000
USUAL = 6.0  # times what the bare proxy takes, as measured with docs/performance.md
MOST = 2 * USUAL


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    async with Stage.open(tmp_path / "stage") as opened:
        yield opened


async def cost(stage: Stage, port: int, pid: int) -> float:
    """Processor seconds for each of the prompts."""
    requests = [submission(small(number)) for number in range(WARMING + PROMPTS)]
    await load(port, requests[:WARMING], stage.folder, CONNECTIONS)
    before = cpu_seconds(pid)
    await load(port, requests[WARMING:], stage.folder, CONNECTIONS)
    return (cpu_seconds(pid) - before) / PROMPTS


async def test_a_submission_to_a_busy_pool_costs_no_more_than_twice_what_it_did(stage):
    runners = await stage.runners(RUNNERS)
    await runners.pause()
    gateway = await stage.gateway(runners.all)
    port = free_port()
    url, log = f"http://127.0.0.1:{port}", stage.sub("bare") / "log"
    bare = await stage.start(url, log, "bench.bare_proxy", str(port), runners.all[0].url, alive="/")
    least = await cost(stage, port, bare.process.pid)
    through = await cost(stage, gateway.port, gateway.pid)
    assert through < MOST * least, f"{through * 1e6:.0f} µs, the bare proxy {least * 1e6:.0f} µs"
