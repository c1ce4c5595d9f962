"""A burst of short jobs: the time until all have ended, against the ideal, which is their work over the runners."""

from __future__ import annotations

import time

from graphs import small, submission
from pool import RunnerProcess, Stage, until
from report import Found, Row
from wire import load

RUNNERS = 8
JOBS = 1_000
SECONDS = 0.1  # of a job's node that takes time
ALONE = 20  # jobs by which one is timed
TARGET = 1.15


async def measure(stage: Stage) -> Found:
    runners = await stage.runners(RUNNERS)
    jobs = stage.some(JOBS)
    alone = await _drained(stage, runners.port(0), runners.all[:1], ALONE) / ALONE
    gateway = await stage.gateway(runners.all, archive={"enabled": False})
    took = await _drained(stage, gateway.port, runners.all, jobs)
    ideal = alone * jobs / RUNNERS
    row = Row(
        f"burst of {jobs:,} jobs of {alone * 1e3:.0f} ms over {RUNNERS} runners",
        f"{took:.1f} s",
        f"ideal {ideal:.1f} s",
        took / ideal,
        f"≤ {TARGET} ×",
        took <= TARGET * ideal,
        "the ideal is what one runner alone takes for a job, over the runners",
    )
    return Found("burst", [row])


async def _drained(stage: Stage, port: int, runners: list[RunnerProcess], jobs: int) -> float:
    """Seconds from the first prompt until all have been executed."""
    before = await _executed(runners)
    requests = [submission(small(number, seconds=SECONDS)) for number in range(port, port + jobs)]
    began = time.perf_counter()
    await load(port, requests, stage.folder, 16)
    await until(lambda: _have(runners, before + jobs), "all have been executed")
    return time.perf_counter() - began


async def _have(runners: list[RunnerProcess], count: int) -> bool:
    return await _executed(runners) >= count


async def _executed(runners: list[RunnerProcess]) -> int:
    return sum([sum((await runner.state())["executed"].values()) for runner in runners])
