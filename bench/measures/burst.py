"""A burst of short jobs: the time until all have ended, against the ideal, which is their work over the runners, and
against what the same simulated runners need for it where no gateway is in front of them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from graphs import small, submission
from pool import RunnerProcess, Stage, cpu_seconds, until
from report import Found, Row
from wire import load

RUNNERS = 8
JOBS = 1_000
SECONDS = 0.1  # of a job's node that takes time
ALONE = 20  # jobs by which one is timed
TARGET = 1.15
CONNECTIONS = 16
LOOK_SECONDS = 0.2  # between two looks whether all have been executed; when that was, the runners' history tells


class Run(NamedTuple):
    """When a runner had a prompt, began it and ended it, by its own history: seconds since the epoch."""

    began: float
    ended: float
    given: float


@dataclass(frozen=True)
class Drained:
    """A burst from its first prompt to the end of its last job, in seconds. ``runs`` are by runner, in their order."""

    seconds: float
    runs: list[list[Run]]

    @property
    def each(self) -> float:
        """How many seconds a job ran."""
        return _mean([run.ended - run.began for runs in self.runs for run in runs])

    @property
    def between(self) -> float:
        """How many seconds a runner did nothing between two jobs."""
        return _mean([after.began - run.ended for runs in self.runs for run, after in pairwise(runs)])

    @property
    def late(self) -> int:
        """How many prompts a runner was given only after it had ended all others."""
        return sum(after.given > run.ended for runs in self.runs for run, after in pairwise(runs))


async def measure(stage: Stage) -> Found:
    runners = await stage.runners(RUNNERS)
    jobs = stage.some(JOBS)
    alone = await _through(stage, runners.port(0), runners.all[:1], range(ALONE))
    direct = await _direct(stage, runners.all, range(JOBS, JOBS + jobs))
    gateway = await stage.gateway(runners.all, archive={"enabled": False})
    before = cpu_seconds(gateway.pid), cpu_seconds(runners.pid)
    through = await _through(stage, gateway.port, runners.all, range(3 * JOBS, 3 * JOBS + jobs))
    used = [cpu_seconds(gateway.pid) - before[0], cpu_seconds(runners.pid) - before[1]]
    each = alone.seconds / ALONE
    ideal = each * jobs / RUNNERS
    what, took = f"burst of {jobs:,} jobs of {each * 1e3:.0f} ms over {RUNNERS} runners", f"{through.seconds:.1f} s"
    note = (
        "the ideal is what one runner alone takes for a job, over the runners; between two jobs a runner was idle for "
        f"{through.between * 1e3:.0f} ms, and {through.late} times because its next prompt was not there yet; "
        f"processor time for each job: gateway {used[0] / jobs * 1e3:.1f}, runners {used[1] / jobs * 1e3:.1f} ms"
    )
    known = (
        f"direct: each runner was given its part at once, and took {direct.seconds / ideal:.2f} × the ideal, a job "
        f"{direct.each * 1e3:.0f} ms; through the gateway a job took {through.each * 1e3:.0f} ms"
    )
    is_met = through.seconds <= TARGET * ideal
    rows = [
        Row(what, took, f"ideal {ideal:.1f} s", through.seconds / ideal, f"≤ {TARGET} ×", is_met, note),
        Row(what, took, f"direct {direct.seconds:.1f} s", through.seconds / direct.seconds, note=known),
    ]
    return Found("burst", rows)


async def _through(stage: Stage, port: int, runners: list[RunnerProcess], seeds: range) -> Drained:
    """Sends the prompts to one port, as clients do."""
    requests = [submission(small(seed, seconds=SECONDS)) for seed in seeds]
    before = await _executed(runners)
    measured = await load(port, requests, stage.folder, CONNECTIONS)
    return await _drained(stage, runners, measured.began, before + len(seeds))


async def _direct(stage: Stage, runners: list[RunnerProcess], seeds: range) -> Drained:
    """Gives each runner its part of the prompts."""
    before, began = await _executed(runners), time.time()
    await asyncio.gather(*(_give(stage, runner, seeds[n :: len(runners)]) for n, runner in enumerate(runners)))
    return await _drained(stage, runners, began, before + len(seeds))


async def _give(stage: Stage, runner: RunnerProcess, seeds: range) -> None:
    for seed in seeds:
        body = {"prompt": small(seed, seconds=SECONDS), "client_id": "bench"}
        async with stage.http.post(f"{runner.url}/prompt", json=body) as response:
            response.raise_for_status()


async def _drained(stage: Stage, runners: list[RunnerProcess], began: float, count: int) -> Drained:
    async def have_all() -> bool:
        await asyncio.sleep(LOOK_SECONDS)
        return await _executed(runners) >= count

    await until(have_all, "all have been executed")
    runs = [await _runs(stage, runner, began) for runner in runners]
    return Drained(max(run.ended for of_runner in runs for run in of_runner) - began, runs)


async def _executed(runners: list[RunnerProcess]) -> int:
    return sum([sum((await runner.state())["executed"].values()) for runner in runners])


async def _runs(stage: Stage, runner: RunnerProcess, since: float) -> list[Run]:
    async with stage.http.get(f"{runner.url}/history") as response:
        entries: dict[str, dict[str, Any]] = await response.json()
    runs = [_run(entry) for entry in entries.values()]
    return sorted(run for run in runs if run.began >= since)


def _run(entry: dict[str, Any]) -> Run:
    told = dict(entry["status"]["messages"])
    began, ended = (told[kind]["timestamp"] / 1e3 for kind in ("execution_start", "execution_success"))
    return Run(began, ended, entry["prompt"][3]["create_time"] / 1e3)


def _mean(values: list[float]) -> float:
    return sum(values) / max(len(values), 1)
