"""Runners are disabled, drained, removed, added and given another address while jobs run on them."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.client import Client
from support.graphs import save_graph
from support.pools import RunningPool, gateway_over, running_pool

from gateway.config import RunnerConfig
from gateway.jobs.fleet import UnknownRunner
from gateway.runners.runner import RunnerState
from gateway.simulator import Simulator, SimulatorOptions

NO_SECOND_CHANCE = {"failover": {"retries": 0, "poison_after_runners": 1}}


@asynccontextmanager
async def two_runners(folder: Path, **config: Any) -> AsyncIterator[tuple[RunningPool, Simulator, Simulator]]:
    """gpu-0, which stops every job at its gate, and gpu-1, which is disabled at first."""
    async with running_pool(folder, 2, config=config) as pool:
        pool.rooms.fleet.disable("gpu-1")
        pool.simulator("gpu-0").pause()
        yield pool, *pool.simulators


async def story(client: Client, job_id: str) -> Any:
    return await client.get(f"/gateway/api/jobs/{job_id}")


async def attempts(client: Client, job_id: str) -> list[tuple[str, str]]:
    return [(each["runner"], each["state"]) for each in (await story(client, job_id))["attempts"]]


async def test_disabled_what_runs_goes_on_and_what_waits_there_goes_elsewhere(tmp_path):
    async with two_runners(tmp_path) as (pool, first, _), Client.connected(pool.base) as client:
        running = await client.submit(save_graph(1))
        await first.held()
        waiting = await client.submit(save_graph(2))
        await pool.until(lambda: pool.rooms.jobs.registry.held("gpu-0") == 2)
        pool.rooms.fleet.disable("gpu-0")
        pool.rooms.fleet.enable("gpu-1")
        await client.hear_end(waiting)
        assert await attempts(client, waiting) == [("gpu-0", "withdrawn"), ("gpu-1", "ended")]
        first.resume()
        await client.hear_end(running)
        assert await attempts(client, running) == [("gpu-0", "ended")]
        assert sorted(pool.executed) == sorted([running, waiting])


async def test_disabled_runners_take_no_work_until_they_are_enabled(tmp_path):
    async with two_runners(tmp_path) as (pool, first, _), Client.connected(pool.base) as client:
        first.resume()
        pool.rooms.fleet.disable("gpu-0")
        status, answer = await client.post("/prompt", {"prompt": save_graph(1), "client_id": client.sid})
        assert (status, answer["error"]["type"]) == (503, "no_runner_available")
        pool.rooms.fleet.enable("gpu-0")
        await client.hear_end(await client.submit(save_graph(1)))


async def test_drained_a_job_is_moved_at_the_deadline_and_that_is_no_loss(tmp_path):
    async with (
        two_runners(tmp_path, **NO_SECOND_CHANCE) as (pool, first, second),
        Client.connected(pool.base) as client,
    ):
        job = await client.submit(save_graph(1))
        await first.held()
        pool.rooms.fleet.enable("gpu-1")
        second.pause()
        pool.rooms.fleet.drain("gpu-0", 0)
        await second.held()
        await first.idle()  # it was told to drop it
        first.resume()
        pool.rooms.fleet.enable("gpu-0")
        pool.rooms.fleet.drain("gpu-1", 0)
        await client.hear_end(job)
        assert await attempts(client, job) == [("gpu-0", "moved"), ("gpu-1", "moved"), ("gpu-0", "ended")]
        assert (await client.history(job))["status"]["status_str"] == "success"
        assert client.told(job).count("execution_success") == 1
        assert len(pool.executed) == 1


async def test_before_the_deadline_a_drained_runner_ends_its_job(tmp_path):
    async with two_runners(tmp_path) as (pool, first, _), Client.connected(pool.base) as client:
        job = await client.submit(save_graph(1))
        await first.held()
        pool.rooms.fleet.enable("gpu-1")
        pool.rooms.fleet.drain("gpu-0", 3600)
        (runner, _) = (await client.get("/gateway/api/runners"))["runners"]
        assert (runner["status"], runner["leaving"]["removes"], runner["running"]) == ("drain", False, job)
        assert runner["leaving"]["deadline"] > 0
        first.resume()
        await client.hear_end(job)
        assert await attempts(client, job) == [("gpu-0", "ended")]


async def test_removed_it_leaves_when_it_is_empty_and_its_pictures_stay(tmp_path):
    async with two_runners(tmp_path) as (pool, first, _), Client.connected(pool.base) as client:
        job = await client.submit(save_graph(1))
        await first.held()
        pool.rooms.fleet.remove("gpu-0")
        with pytest.raises(UnknownRunner):
            pool.rooms.fleet.enable("gpu-0")
        assert pool.rooms.pool.get("gpu-0") is not None
        first.resume()
        await client.hear_end(job)
        await pool.until(lambda: pool.rooms.pool.get("gpu-0") is None)
        await first.close()
        (picture,) = await client.files(job)
        assert picture.startswith(b"\x89PNG")


async def test_added_it_takes_the_job_that_waits(tmp_path):
    async with two_runners(tmp_path) as (pool, first, _), Client.connected(pool.base) as client:
        jobs = [await client.submit(save_graph(seed)) for seed in range(4)]
        await first.held()
        async with Simulator(SimulatorOptions(name="gpu-2", draw=False)) as third:
            pool.rooms.fleet.add(RunnerConfig(name="gpu-2", endpoint=third.url))
            async with asyncio.timeout(1):
                await pool.until(lambda: pool.rooms.jobs.registry.held("gpu-2"))
            await client.hear_end(jobs[-1])
            assert len(third.executed) == 2
            with pytest.raises(ValueError, match="already"):
                pool.rooms.fleet.add(RunnerConfig(name="gpu-2", endpoint=third.url))
            first.resume()
            await first.idle()
            pool.rooms.fleet.remove("gpu-2")
            await pool.until(lambda: pool.rooms.pool.get("gpu-2") is None)


async def test_another_address_of_the_same_server_keeps_its_job(tmp_path):
    async with two_runners(tmp_path) as (pool, first, _), Client.connected(pool.base) as client:
        job = await client.submit(save_graph(1))
        await first.held()
        config = pool.rooms.pool.get("gpu-0").config
        await pool.rooms.fleet.change(
            config.model_copy(update={"endpoint": first.url.replace("127.0.0.1", "localhost")})
        )
        await pool.until(lambda: pool.rooms.pool.get("gpu-0").is_ready)
        first.resume()
        await client.hear_end(job)
        assert await attempts(client, job) == [("gpu-0", "ended")]
        assert first.executed == [job]


async def test_another_server_at_the_new_address_gets_the_job_anew(tmp_path):
    async with (
        two_runners(tmp_path, **NO_SECOND_CHANCE) as (pool, first, second),
        Client.connected(pool.base) as client,
    ):
        job, behind = await client.submit(save_graph(1)), await client.submit(save_graph(2))
        await first.held()
        await pool.rooms.fleet.apply(
            [RunnerConfig(name="gpu-0", endpoint=second.url)]  # and gpu-1, its other name, leaves
        )
        await pool.until(lambda: len(second.executed) == 2)
        await first.idle()
        assert await attempts(client, job) == [("gpu-0", "moved"), ("gpu-0", "ended")]
        assert (await attempts(client, behind))[0] == ("gpu-0", "withdrawn")
        assert first.executed == []


async def test_other_headers_and_its_job_goes_on(tmp_path):
    async with AsyncExitStack() as stack:
        options = SimulatorOptions(name="gpu-0", draw=False, required_header=("X-Key", "secret"))
        runner = await stack.enter_async_context(Simulator(options))
        pool = await stack.enter_async_context(
            gateway_over(tmp_path, [runner], runners={"headers": {"X-Key": "secret"}})
        )
        client = await stack.enter_async_context(Client.connected(pool.base))
        runner.pause()
        job = await client.submit(save_graph(1))
        await runner.held()
        found = pool.rooms.pool.get("gpu-0")
        await pool.rooms.fleet.change(RunnerConfig(name="gpu-0", endpoint=runner.url, headers={"X-Key": "wrong"}))
        await pool.until(lambda: found.health.state is RunnerState.MISCONFIGURED)
        right = RunnerConfig(name="gpu-0", endpoint=runner.url, headers={"x-key": "secret"})
        await pool.rooms.fleet.change(right)
        await pool.until(lambda: found.is_ready)
        runner.resume()
        await client.hear_end(job)
        assert await attempts(client, job) == [("gpu-0", "ended")]


async def test_a_list_is_applied_as_a_difference(tmp_path):
    async with two_runners(tmp_path) as (pool, first, second), Client.connected(pool.base) as client:
        job = await client.submit(save_graph(1))
        await first.held()
        links = [pool.rooms.pool.get(name).link for name in ("gpu-0", "gpu-1")]
        changes = await pool.rooms.fleet.apply(
            [
                RunnerConfig(name="gpu-1", endpoint=second.url, prefetch=3),
                RunnerConfig(name="gpu-0", endpoint=first.url, tags=("sdxl",)),
            ]
        )
        assert [(change.kind.value, change.name, change.keys) for change in changes] == [
            ("changed", "gpu-1", ("prefetch", "status")),
            ("changed", "gpu-0", ("tags",)),
        ]
        runners = list(pool.rooms.pool)
        assert [runner.name for runner in runners] == ["gpu-1", "gpu-0"]
        assert [runners[1].link, runners[0].link] == links
        assert (runners[0].capacity, runners[0].takes_work, runners[1].config.tags) == (4, True, ("sdxl",))
        first.resume()
        await client.hear_end(job)


async def test_taken_out_and_put_back_before_it_was_empty(tmp_path):
    async with two_runners(tmp_path) as (pool, first, _), Client.connected(pool.base) as client:
        configs = [runner.config for runner in pool.rooms.pool]
        job = await client.submit(save_graph(1))
        await first.held()
        await pool.rooms.fleet.apply(configs[1:])
        assert not pool.rooms.pool.get("gpu-0").takes_work
        await pool.rooms.fleet.apply(configs)
        assert pool.rooms.pool.get("gpu-0").takes_work
        first.resume()
        await client.hear_end(job)
        assert pool.rooms.fleet.leaving("gpu-0") is None
        assert await attempts(client, job) == [("gpu-0", "ended")]


async def test_why_a_job_waits_is_told_runner_by_runner(tmp_path):
    async with two_runners(tmp_path) as (pool, first, _), Client.connected(pool.base) as client:
        jobs = [await client.submit(save_graph(seed)) for seed in range(4)]
        await first.held()
        last = await story(client, jobs[3])
        assert (last["state"], last["position"]) == ("pending", 2)
        assert last["placement"]["runner"] is None
        busy, other = last["placement"]["runners"]
        assert (busy["runner"], other) == ("gpu-0", {"runner": "gpu-1", "reason": "disabled"})
        assert re.fullmatch(r"fits; 2 before it, free in [\d.]+ s; full", busy["reason"])
        assert last["attempts"][0]["state"] == "withdrawn"  # it was validated there
        running = await story(client, jobs[0])
        assert (running["state"], running["runner"], running["placement"]) == ("running", "gpu-0", None)
        first.resume()
        await client.hear_end(jobs[3])
        ended = await story(client, jobs[3])
        assert (ended["state"], ended["position"]) == ("completed", None)
        assert ended["created_at"] <= ended["started_at"] <= ended["ended_at"]
        await client.get("/gateway/api/jobs/unknown", status=404)
