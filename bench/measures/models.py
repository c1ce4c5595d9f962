"""Mixed models: the mean time to finish under the gateway's policy and under those that know nothing of models, in
virtual time. `bench/placement.py` has more mixes and policies, `bench/through_gateway.py` some through a gateway."""

from __future__ import annotations

import asyncio
from concurrent.futures import ProcessPoolExecutor
from statistics import mean

from placement import BOUND, MIXES, POLICIES
from policies import Bound
from pool import Stage
from report import Found, Row
from virtual import Pool

OURS = "warm (the gateway's)"
OTHERS = ("round robin", "least connections", "least queue, by speed")
SEEDS = range(3)


def outcome(name: str, seed: int) -> tuple[float, float, int]:
    """The mean time from a job's arrival to its end and the makespan, in seconds, and how often a model was loaded."""
    mix = MIXES[0]
    jobs = mix.arrivals(seed)
    loads = {f"model-{rank:02}": 0.0 if name == BOUND else mix.load_seconds for rank in range(mix.models)}
    pool = Pool(mix.speeds, mix.kept, loads)
    pool.run(jobs, Bound() if name == BOUND else POLICIES[name]())
    mean_time = mean(job.ended - job.arrived for job in jobs)
    return mean_time, max(job.ended for job in jobs), sum(worker.loads for worker in pool.workers)


async def measure(stage: Stage) -> Found:
    mix = MIXES[0]
    names = (BOUND, OURS, *OTHERS)
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(2) as processes:
        runs = [loop.run_in_executor(processes, outcome, name, seed) for name in names for seed in SEEDS]
        results = await asyncio.gather(*runs)
    found = Found("models")
    means = {
        name: [mean(column) for column in zip(*results[at : at + len(SEEDS)], strict=True)]
        for name, at in zip(names, range(0, len(results), len(SEEDS)), strict=True)
    }
    for name in OTHERS:
        found.rows.append(
            Row(
                f"mean time to finish, {mix.models} checkpoints, {mix.load:.0%} load, against {name}",
                _told(means[OURS]),
                _told(means[name]),
                means[OURS][0] / means[name][0],
                "reported",
                note=f"{means[BOUND][0]:.1f} s if nothing ever had to be loaded; in virtual time",
            )
        )
    return found


def _told(means: list[float]) -> str:
    return f"{means[0]:.1f} s; makespan {means[1]:,.0f} s, {means[2]:,.0f} cold starts"
