"""API keys that come with prompts reach the runner that runs the job, through restarts and kills, and nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from support.client import Client
from support.graphs import save_graph
from support.pools import gateway_over
from support.processes import gateway_process, until, write_config

from gateway.simulator import Simulator, SimulatorOptions

KEY = "comfyui-a-key-that-nobody-else-is-to-see"
TOLD = {"extra_data": {"api_key_comfy_org": KEY, "extra_pnginfo": {"workflow": {"id": "w"}}}}


@asynccontextmanager
async def runner(version: str) -> AsyncIterator[tuple[Simulator, dict[str, str | None]]]:
    """A runner that does not begin anything yet, and the key that it was given with each prompt the last time."""
    async with Simulator(SimulatorOptions(name="gpu-0", version=version, draw=False)) as simulator:
        given: dict[str, str | None] = {}
        put = simulator.state.queue.put

        def noted(item: Any) -> None:
            given[item[1]] = {**item[3], **(item[5] if len(item) > 5 else {})}.get("api_key_comfy_org")
            put(item)

        simulator.state.queue.put = noted
        simulator.pause()
        yield simulator, given


@pytest.fixture(params=["0.33.0", "0.3.64"])
async def held_runner(request):
    async with runner(request.param) as made:
        yield made


async def submitted(base: str) -> list[str]:
    async with Client.connected(base) as client:
        return [await client.submit(save_graph(seed), **TOLD) for seed in range(5)]


async def everything_told(base: str, prompt_id: str) -> str:
    """All that the gateway tells of a job, as text."""
    async with Client.connected(base) as client:
        told = ""
        for path in (
            *("/queue", "/history", "/api/jobs", f"/api/jobs/{prompt_id}", f"/gateway/api/jobs/{prompt_id}"),
            *("/gateway/api/runners", "/gateway/metrics"),
        ):
            async with client.http.get(base + path) as answer:
                assert answer.status == 200
                told += await answer.text()
        assert prompt_id in told
        return told


async def test_they_reach_the_runner_and_no_answer(tmp_path, held_runner):
    simulator, given = held_runner
    async with gateway_over(tmp_path, [simulator]) as pool:
        jobs = await submitted(pool.base)
        assert KEY not in await everything_told(pool.base, jobs[-1])
        simulator.resume()
        await pool.until(lambda: not pool.rooms.jobs.registry.taken)
        assert KEY not in await everything_told(pool.base, jobs[-1])
        assert given == dict.fromkeys(jobs, KEY)


async def test_a_lost_key_file_loses_them_and_no_job(tmp_path, held_runner):
    simulator, given = held_runner
    async with gateway_over(tmp_path, [simulator]) as pool:
        jobs = await submitted(pool.base)
    (tmp_path / "gateway.key").unlink()
    given.clear()
    async with gateway_over(tmp_path, [simulator]) as pool:
        assert "cannot be read" in await everything_told(pool.base, jobs[-1])
        simulator.resume()
        await pool.until(lambda: not pool.rooms.jobs.registry.taken)
        async with Client.connected(pool.base) as client:
            assert list(await client.get("/history")) == jobs
        assert given[jobs[-1]] is None


async def test_waiting_through_a_kill(tmp_path, held_runner):
    simulator, given = held_runner
    config = write_config(tmp_path, [SimpleNamespace(name="gpu-0", url=simulator.url)])
    async with gateway_process(config) as first:
        jobs = await submitted(first.url)
        await first.kill()
    data = tmp_path / "data"
    assert (data / "gateway.key").stat().st_mode & 0o777 == 0o600
    kept = b"".join(path.read_bytes() for path in data.rglob("*") if path.is_file())
    assert jobs[-1].encode() in kept
    assert KEY.encode() not in kept, "in no file of the gateway's"
    given.clear()
    async with gateway_process(config) as second:
        simulator.resume()
        async with Client.connected(second.url) as client:
            await until(lambda: is_idle(client), "all jobs have ended")
        assert KEY not in await everything_told(second.url, jobs[-1])
        assert KEY not in second.output
    assert set(given.values()) == {KEY}, "those that waited in the gateway were given out with it"


async def is_idle(client: Client) -> bool:
    return bool((await client.get("/prompt"))["exec_info"]["queue_remaining"] == 0)


async def test_the_key_may_come_from_the_configuration(tmp_path):
    config = {"access": {"secrets_key": "0123456789abcdef0123456789abcdef"}}
    async with runner("0.33.0") as (simulator, given):
        async with gateway_over(tmp_path, [simulator], config=config) as pool:
            jobs = await submitted(pool.base)
            assert not (tmp_path / "gateway.key").exists()
        given.clear()
        async with gateway_over(tmp_path, [simulator], config=config) as pool:
            simulator.resume()
            await pool.until(lambda: not pool.rooms.jobs.registry.taken)
        assert given[jobs[-1]] == KEY
