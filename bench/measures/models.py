"""Mixed models: the mean time to finish under the gateway's policy and under those that know nothing of models, in
virtual time. `bench/placement.py` has more mixes and policies, `bench/through_gateway.py` some through a gateway."""

from __future__ import annotations

import asyncio
from concurrent.futures import ProcessPoolExecutor
from statistics import mean

from placement import BOUND, MIXES, mean_response
from pool import Stage
from report import Found, Row

OURS = "warm (the gateway's)"
OTHERS = ("round robin", "least connections", "least queue, by speed")
SEEDS = range(3)


async def measure(stage: Stage) -> Found:
    mix = MIXES[0]
    names = (BOUND, OURS, *OTHERS)
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(2) as processes:
        runs = [loop.run_in_executor(processes, mean_response, mix, name, seed) for name in names for seed in SEEDS]
        results = await asyncio.gather(*runs)
    found = Found("models")
    seconds, loads = {}, {}
    for index, name in enumerate(names):
        own = results[index * len(SEEDS) : (index + 1) * len(SEEDS)]
        seconds[name], loads[name] = mean(each[0] for each in own), mean(each[2] for each in own)
    for name in OTHERS:
        found.rows.append(
            Row(
                f"mean time to finish, {mix.models} models, {mix.load:.0%} load",
                f"{seconds[OURS]:.1f} s, {loads[OURS]:.0f} cold starts",
                f"{seconds[name]:.1f} s, {loads[name]:.0f} cold starts: {name}",
                seconds[OURS] / seconds[name],
                "reported",
                note=f"{seconds[BOUND]:.1f} s if nothing ever had to be loaded; in virtual time",
            )
        )
    return found
