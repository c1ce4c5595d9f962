"""A gateway that finds ten thousand waiting jobs gives out the first one about as soon as one that finds a few."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest
from support.processes import RunnerProcess, gateway_process, runner_processes, until, write_config
from support.seeds import seed

FEW, MANY = 4, 10_000


async def seconds_to_first_job(folder, waiting: int) -> float:
    folder.mkdir()
    async with AsyncExitStack() as stack:
        (runner,) = await stack.enter_async_context(runner_processes(folder, 1))
        await seed(folder / "data" / "gateway.db", waiting=waiting, ended=0)
        config = write_config(folder, [runner], queue={"max_pending": 100_000}, log={"level": "warning"})
        await runner.control("pause", after=0)
        began = time.perf_counter()
        first = asyncio.create_task(until(lambda: has_a_job(runner), "the first job is given out"))
        await stack.enter_async_context(gateway_process(config))
        await first
        return time.perf_counter() - began


async def has_a_job(runner: RunnerProcess) -> bool:
    return bool((await runner.state())["queue_remaining"])


@pytest.mark.timeout(180)
async def test_many_waiting_jobs_do_not_delay_the_first(tmp_path):
    few = await seconds_to_first_job(tmp_path / "few", FEW)
    many = await seconds_to_first_job(tmp_path / "many", MANY)
    figures = f"first job after {few:.2f} s with {FEW} waiting, {many:.2f} s with {MANY}"
    print(figures)  # noqa: T201
    assert many < 3 * few + 3, figures
