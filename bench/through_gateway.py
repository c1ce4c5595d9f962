"""The mixes of models of `placement.py` through a real gateway over simulated runners, with time scaled down, beside
the policy alone on the same jobs. What is warm, how fast runners are and how long jobs take the gateway has to learn.

The gateway learns in a run of other jobs first, which is not counted, and ends before the one that is begins. A job
takes a little longer here than its work, for HTTP and for everything that runs on the same machine; how much is
measured, and the policy alone is given the same. It begins with the same models loaded where they are then: with few
switches in a run, where each model happens to lie makes more of a difference than all the rest. Where the policy counts
in seconds, they are the same on both sides: its patience is scaled down for the gateway, and by how much jobs are given
ahead is scaled up for the policy alone.

    python bench/through_gateway.py [--jobs 400] [--scale 0.4] [--mix 0] [--seed 0] [--policy warm]
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
from placement import BOUND, MIXES
from policies import Bound, Ours
from virtual import Job, Policy, Pool, Workload

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.pools import running_pool

from gateway.config import LogConfig
from gateway.jobs.states import AttemptState, JobState
from gateway.logging import configure_logging
from gateway.scheduling.ahead import LEAST_LEAD
from gateway.scheduling.warm import WarmFirst

STEP_SECONDS = 0.25  # of a sampler at speed 1, before scaling
LONGEST_SECONDS = 600.0  # after the last job has come
LEARNING_JOBS = 200


def graph(job: Job, number: int) -> dict[str, Any]:
    """The default graph of ComfyUI, with as many steps as the job has work."""
    (model,) = job.models
    sampler = {"seed": number, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    links = {"model": ["1", 0], "positive": ["2", 0], "negative": ["2", 0], "latent_image": ["3", 0]}
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": f"{model}.safetensors"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": f"picture {number}", "clip": ["1", 1]}},
        "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "4": {"class_type": "KSampler", "inputs": {**sampler, **links, "steps": steps_of(job)}},
        "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
        "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "bench"}},
    }


def steps_of(job: Job) -> int:
    return max(1, round(job.work / STEP_SECONDS))


class Ends:
    """When each job ended, by its id."""

    def __init__(self, count: int) -> None:
        self.at: dict[str, float] = {}
        self.count = count
        self.all = asyncio.Event()
        self.busy = 0.0  # seconds in which runners had a job
        self.given: dict[str, float] = {}
        self.free: dict[str, float] = {}
        self.ran_on: dict[str, str] = {}

    def job_turned(self, job: Any, was: Any) -> None:
        if job.state is JobState.COMPLETED:
            self.at[job.id] = time.perf_counter()
            if len(self.at) == self.count:
                self.all.set()

    def attempt_turned(self, attempt: Any, was: Any, reason: str) -> None:
        if attempt.state is AttemptState.ENDED:
            self.busy += time.perf_counter() - max(self.given[attempt.job.id], self.free.get(attempt.runner, 0.0))
            self.free[attempt.runner] = time.perf_counter()
            self.ran_on[attempt.job.id] = attempt.runner
        elif attempt.state is AttemptState.HELD or attempt.state is AttemptState.RUNNING:
            self.given.setdefault(attempt.job.id, time.perf_counter())


@dataclasses.dataclass(frozen=True)
class Found:
    """``took``: seconds from arrival to end, of each job. ``overhead``: by how many one takes longer than its work
    and its loads. Both unscaled. ``loads``: how often a model was loaded. ``warm``: what each runner had first."""

    took: list[float]
    overhead: float
    loads: int
    warm: list[list[str]]


async def through_gateway(mix: Workload, jobs: list[Job], scale: float, folder: Path, policy: str) -> Found:
    """What the gateway makes of the jobs, after it has learned."""
    checkpoints = [f"model-{rank:02}.safetensors" for rank in range(mix.models)]
    options = [
        {
            "speed": speed,
            "checkpoints": checkpoints,
            "models_kept": mix.kept,
            "seconds_per_step": STEP_SECONDS * scale,
            "load_seconds": mix.load_seconds * scale * speed,  # loading takes the same time on all
            "preview_size": 0,
        }
        for speed in mix.speeds
    ]
    patience = WarmFirst().patience_seconds * scale
    config = {"scheduling": {"policy": policy, "patience_seconds": patience}, "log": {"level": "error"}}
    async with running_pool(folder, len(options), options=options, config=config) as pool:
        await sent_and_ended(pool, learning(mix), scale, first_seed=len(jobs))
        before = sum(len(simulator.gpu.loads) for simulator in pool.simulators)
        warm = [[model.removesuffix(".safetensors") for model in each.gpu.loaded] for each in pool.simulators]
        ends, ids, sent = await sent_and_ended(pool, jobs, scale)
        loads = sum(len(simulator.gpu.loads) for simulator in pool.simulators) - before
        speeds = {simulator.options.name: simulator.options.speed for simulator in pool.simulators}
        work = sum(
            steps_of(job) * STEP_SECONDS / speeds[ends.ran_on[job_id]] for job, job_id in zip(jobs, ids, strict=True)
        )
        overhead = (ends.busy / scale - work - loads * mix.load_seconds) / len(jobs)
        return Found([(ends.at[job_id] - sent[job_id]) / scale for job_id in ids], max(0.0, overhead), loads, warm)


def learning(mix: Workload) -> list[Job]:
    return dataclasses.replace(mix, jobs=LEARNING_JOBS).arrivals(1_000)


async def sent_and_ended(
    pool: Any, jobs: list[Job], scale: float, first_seed: int = 0
) -> tuple[Ends, list[str], dict[str, float]]:
    """Sends jobs when they are due and waits for their ends. Returns these, the jobs' ids in order, and when each was
    sent."""
    ends, began = Ends(len(jobs)), time.perf_counter()
    pool.rooms.jobs.registry.watchers.append(ends)
    sent: dict[str, float] = {}
    ids = [""] * len(jobs)
    async with aiohttp.ClientSession() as http:

        async def submit(number: int, job: Job) -> None:
            await asyncio.sleep(max(0.0, began + job.arrived * scale - time.perf_counter()))
            at = time.perf_counter()
            body = {"prompt": graph(job, first_seed + number), "client_id": "bench"}
            async with http.post(f"{pool.base}/prompt", json=body) as response:
                ids[number] = (await response.json())["prompt_id"]
                sent[ids[number]] = at

        await asyncio.gather(*(submit(number, job) for number, job in enumerate(jobs)))
        async with asyncio.timeout(LONGEST_SECONDS):
            await ends.all.wait()
    return ends, ids, sent


def alone(
    mix: Workload, jobs: list[Job], policy: Policy, overhead: float = 0.0, warm: list[list[str]] | None = None
) -> tuple[list[float], int]:
    """The same on the policy alone, with so much more for every job; and how often a model was loaded. Its runners
    have loaded ``warm``, or else what they learned with has left them."""
    loads = {f"model-{rank:02}": 0.0 if isinstance(policy, Bound) else mix.load_seconds for rank in range(mix.models)}
    pool = Pool(mix.speeds, mix.kept, loads, overhead=overhead)
    pool.run([dataclasses.replace(job, id=f"learning {job.id}") for job in learning(mix)], policy)
    mine = [dataclasses.replace(job, arrived=pool.now + job.arrived, work=steps_of(job) * STEP_SECONDS) for job in jobs]
    before = sum(worker.loads for worker in pool.workers)
    for worker, models in zip(pool.workers, warm or (), strict=False):
        worker.warm = list(models)
    pool.run(mine, policy)
    return [job.ended - job.arrived for job in mine], sum(worker.loads for worker in pool.workers) - before


def rows(mix: Workload, arguments: argparse.Namespace) -> Iterator[tuple[str, float]]:
    jobs = dataclasses.replace(mix, jobs=arguments.jobs).arrivals(arguments.seed)
    yield BOUND, statistics.mean(alone(mix, jobs, Bound())[0])
    lead = LEAST_LEAD / arguments.scale
    for name, prefetch in (("warm (the gateway's)", 0), ("warm (the gateway's), one job ahead", 1)):
        took, loads = alone(mix, jobs, Ours(prefetch=prefetch, lead=lead))
        yield f"{name}, {loads} loads", statistics.mean(took)
    for policy in arguments.policy:
        with tempfile.TemporaryDirectory() as folder:
            found = asyncio.run(through_gateway(mix, jobs, arguments.scale, Path(folder), policy))
        yield f"through the gateway: {policy}, {found.loads} loads", statistics.mean(found.took)
        more, loads = alone(mix, jobs, Ours(prefetch=1, lead=lead), found.overhead, found.warm)
        yield f"the policy alone, each job {found.overhead:.2f} s longer, {loads} loads", statistics.mean(more)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=400)
    parser.add_argument("--scale", type=float, default=0.4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mix", type=int, action="append", choices=range(len(MIXES)))
    parser.add_argument("--policy", action="append")
    arguments = parser.parse_args()
    arguments.policy = arguments.policy or ["warm"]
    configure_logging(LogConfig(level="error"))
    for number in arguments.mix or range(len(MIXES)):
        mix = MIXES[number]
        print(f"{mix.models} models, {mix.kept} kept, {mix.load:.0%} of the pool's speed, {arguments.jobs} jobs")
        for name, seconds in rows(mix, arguments):
            print(f"  {name:<58} {seconds:6.2f} s", flush=True)


if __name__ == "__main__":
    main()
