"""Where jobs run, compared: the mean time from arrival to end as a multiple of a bound that nobody can reach, which is
that nothing is ever loaded. Four mixes of models, on the policy alone, in virtual time; half a minute.

    python bench/placement.py [--seeds 5]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

from policies import AtOnce, Bound, Ours, Pressure, Threshold
from virtual import Policy, Pool, Workload

MIXES = (Workload(4, 2, 0.8), Workload(4, 1, 0.8), Workload(8, 1, 0.7), Workload(12, 2, 0.7))
POLICIES: dict[str, Callable[[], Policy]] = {
    "round robin": lambda: AtOnce("round robin"),
    "least connections": lambda: AtOnce("least connections"),
    "least queue, by speed": lambda: AtOnce("least queue"),
    "warm, else the model with most waiting": Pressure,
    "warm, switch above 2 loads": lambda: Threshold(2.0),
    "warm, switch above 1 load": lambda: Threshold(1.0),
    "warm (the gateway's)": Ours,
    "warm (the gateway's), one job ahead": lambda: Ours(prefetch=1),
}
BOUND = "nothing is ever loaded (bound)"


def mean_response(mix: Workload, name: str, seed: int) -> tuple[float, float, int]:
    """Mean and 99th percentile in seconds from arrival to end, and how often a model was loaded."""
    jobs = mix.arrivals(seed)
    loads = {f"model-{rank:02}": 0.0 if name == BOUND else mix.load_seconds for rank in range(mix.models)}
    pool = Pool(mix.speeds, mix.kept, loads)
    pool.run(jobs, Bound() if name == BOUND else POLICIES[name]())
    took = sorted(job.ended - job.arrived for job in jobs)
    return statistics.mean(took), took[int(len(took) * 0.99)], sum(worker.loads for worker in pool.workers)


def row(name: str, seeds: int) -> list[tuple[float, float, float]]:
    """Per mix: mean, 99th percentile, loads; each the mean over the seeds."""
    found = []
    for mix in MIXES:
        runs = [mean_response(mix, name, seed) for seed in range(seeds)]
        found.append(tuple(statistics.mean(column) for column in zip(*runs, strict=True)))
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seeds", type=int, default=5)
    seeds = arguments.parse_args().seeds
    began = time.monotonic()
    with ProcessPoolExecutor() as processes:
        rows = {name: processes.submit(row, name, seeds) for name in (BOUND, *POLICIES)}
        bound = rows[BOUND].result()
        heads = [f"{mix.models} models, {mix.kept} kept, {mix.load:.0%}" for mix in MIXES]
        print("| policy | " + " | ".join(heads) + " |\n|" + " --- |" * (len(heads) + 1))
        for name in POLICIES:
            cells = [
                f"{mean / least:.1f} × (p99 {late:.0f} s, {loads:.0f} loads)"
                for (mean, late, loads), (least, _, _) in zip(rows[name].result(), bound, strict=True)
            ]
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
        print(f"| {BOUND} | " + " | ".join(f"{mean:.1f} s (p99 {late:.0f} s)" for mean, late, _ in bound) + " |")
    print(f"\n{seeds} seeds of {MIXES[0].jobs} jobs each, in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
