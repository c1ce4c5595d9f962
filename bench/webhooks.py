"""Runs jobs with a webhook to a receiver that fails, kills the gateway once in the middle, and checks what was told:
every event of every job, in order. Prints figures.

    python bench/webhooks.py --runs 10000
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import aiohttp
import yaml
from support.graphs import save_graph
from support.receivers import ALLOWED, Receiver, receiving

from gateway.simulator import Simulator, SimulatorOptions

RUNNERS = 4
AT_ONCE = 32  # submissions
FAILS, SEED = 0.3, 20_260_101
EXPECTED = ["created", "started", "completed"]
WEBHOOKS = {"first_retry_seconds": 0.2, "longest_retry_seconds": 5, "timeout_seconds": 10, "at_once_per_host": 32}


class Gateway:
    """The gateway in a process of its own."""

    def __init__(self, folder: Path, simulators: list[Simulator]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.base = f"http://127.0.0.1:{self.port}"
        self.file = folder / "config.yaml"
        runners = [{"name": each.options.name, "endpoint": each.url, "prefetch": 4} for each in simulators]
        config = {
            **ALLOWED,
            "server": {"port": self.port},
            "data_dir": str(folder / "data"),
            "runners": runners,
            "archive": {"enabled": False},
            "queue": {"max_pending": 100_000},
            "webhooks": WEBHOOKS,
            "log": {"level": "error"},
        }
        self.file.write_text(yaml.safe_dump(config))
        self.process: asyncio.subprocess.Process

    async def start(self, http: aiohttp.ClientSession) -> None:
        program = (sys.executable, "-m", "gateway", "serve", "--config", str(self.file))
        self.process = await asyncio.create_subprocess_exec(*program, env={**os.environ})
        async with asyncio.timeout(120):
            while True:
                try:
                    async with http.get(self.base + "/gateway/ready") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.1)

    async def end(self, number: int) -> None:
        self.process.send_signal(number)
        await self.process.wait()


async def submit(gateway: Gateway, http: aiohttp.ClientSession, number: int, url: str) -> str:
    """Submits until the gateway has taken it, kills in between or not; a job's id is its number's."""
    job = f"00000000-0000-4000-8000-{number:012d}"
    hook = {"url": url, "events": [*EXPECTED, "failed", "cancelled"]}
    body = {"prompt": save_graph(number, steps=1), "prompt_id": job, "extra_data": {"gateway": {"webhook": hook}}}
    while True:
        try:
            async with http.post(gateway.base + "/prompt", json=body) as answer:
                told = await answer.json()
                if answer.status == 200 or told["error"]["type"] == "duplicate_prompt_id":
                    return job
                if answer.status < 429:
                    raise SystemExit(f"refused: {told}")
        except (aiohttp.ClientError, json.JSONDecodeError):
            pass
        await asyncio.sleep(0.1)


async def main(runs: int, seconds: float) -> int:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        options = [SimulatorOptions(name=f"gpu-{n}", draw=False, preview_size=0) for n in range(RUNNERS)]
        simulators = [await stack.enter_async_context(Simulator(each)) for each in options]
        receiver = await stack.enter_async_context(receiving(fails=FAILS, seed=SEED))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        gateway = Gateway(folder, simulators)
        await gateway.start(http)
        began = time.monotonic()
        jobs = iter(range(1, runs + 1))
        killed = asyncio.create_task(kill_at(gateway, http, receiver, runs // 2))

        async def worker() -> None:
            for number in jobs:
                await submit(gateway, http, number, receiver.url)

        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        submitted = time.monotonic() - began
        try:
            await receiver.until(lambda: receiver.ended() == runs, seconds)
        except TimeoutError:
            print(f"only {receiver.ended()} of {runs} ends were delivered in {seconds:g} s")
        await killed
        took = time.monotonic() - began
        await gateway.end(signal.SIGTERM)
        return report(receiver, runs, submitted, took)


async def kill_at(gateway: Gateway, http: aiohttp.ClientSession, receiver: Receiver, ended: int) -> None:
    await receiver.until(lambda: receiver.ended() >= ended, 3_600)
    await gateway.end(signal.SIGKILL)
    await gateway.start(http)


def report(receiver: Receiver, runs: int, submitted: float, took: float) -> int:
    told = receiver.by_job()
    kinds = Counter(" ".join(events) for events in told.values())
    right = kinds[" ".join(EXPECTED)]
    print(f"{runs} runs over {RUNNERS} simulated runners, the receiver fails {FAILS:.0%} of the time, one kill -9")
    print(f"submitted in {submitted:.1f} s, all delivered after {took:.1f} s ({runs / took:.0f} runs/s)")
    print(f"{len(receiver.taken)} messages taken of {receiver.tries} tries; {len(set(receiver.ids))} different ones")
    print(
        f"{right} jobs told in full and in order; others: { {k: n for k, n in kinds.items() if n != right} or 'none' }"
    )
    return 0 if right == runs == len(told) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=1_800, help="for the deliveries to arrive")
    given = parser.parse_args()
    sys.exit(asyncio.run(main(given.runs, given.seconds)))
