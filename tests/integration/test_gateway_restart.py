"""The gateway stops and starts again while its runners go on: every job is found, and ends once."""

import uuid
from contextlib import AsyncExitStack

import pytest
from support.busy import QUICK, ended_once, fill, holds, queue_of, running_on
from support.client import Client
from support.graphs import save_graph
from support.pools import gateway_over

from gateway.simulator import Simulator, SimulatorOptions


async def simulated(stack, count, **more):
    return [
        await stack.enter_async_context(Simulator(SimulatorOptions(**{"name": f"gpu-{number}", "draw": False} | more)))
        for number in range(count)
    ]


@pytest.mark.parametrize("version", ["0.33.0", "0.3.64"])
async def test_a_restarted_gateway_finds_every_job_again(tmp_path, version):
    async with AsyncExitStack() as stack:
        simulators = await simulated(stack, 2, version=version)
        async with gateway_over(tmp_path, simulators) as pool, Client.connected(pool.base) as client:
            before = await client.submit(save_graph(50))
            await client.hear_end(before)
            first_entry = await client.history(before)
            (first_file,) = await client.files(before)
            ids = await fill(pool, client)
            waiting = [await client.submit(save_graph(number), prompt_id=f"mine-{number}") for number in range(3)]
            states = {job.id: job.state for job in pool.rooms.jobs.registry}
        assert [holds(each) for each in simulators] == [2, 2]
        async with gateway_over(tmp_path, simulators) as pool, Client.connected(pool.base, sid=client.sid) as again:
            await pool.until(lambda: all(runner.is_ready for runner in pool.rooms.pool))
            assert {job.id: job.state for job in pool.rooms.jobs.registry} == states
            assert await again.history(before) == first_entry
            assert await again.files(before) == [first_file]
            late = await again.submit(save_graph(60))
            assert (await queue_of(again))[1][-1] == late, "behind those that waited through the restart"
            for simulator in simulators:
                simulator.resume()
            for prompt_id in (*ids, *waiting, late):
                await ended_once(again, prompt_id)
            ran = [prompt_id for each in simulators for prompt_id in each.executed]
            assert len(ran) == len(set(ran)) == 9
            history = await again.get("/history")
            assert set(history) == {before, *ids, *waiting, late}
            names = [
                item["filename"]
                for entry in history.values()
                for output in entry["outputs"].values()
                for item in output["images"]
            ]
            assert len(set(names)) == len(names) == 9
        async with gateway_over(tmp_path, simulators) as pool, Client.connected(pool.base) as third:
            assert await third.get("/history") == history
            assert pool.rooms.jobs.registry.remaining == 0


async def test_jobs_that_ended_while_the_gateway_was_down_end_with_their_outputs(tmp_path):
    async with AsyncExitStack() as stack:
        simulators = await simulated(stack, 2)
        async with gateway_over(tmp_path, simulators) as pool, Client.connected(pool.base) as client:
            ids = await fill(pool, client)
        for simulator in simulators:
            simulator.resume()
            await simulator.idle()
        async with gateway_over(tmp_path, simulators) as pool, Client.connected(pool.base, sid=client.sid) as again:
            for prompt_id in ids:
                await ended_once(again, prompt_id)
                assert len(await again.files(prompt_id)) == 1


async def test_a_prompt_that_no_job_owns_is_removed_and_a_persons_own_is_not(tmp_path):
    async with AsyncExitStack() as stack:
        (simulator,) = simulators = await simulated(stack, 1)
        async with gateway_over(tmp_path, simulators) as pool:
            (runner,) = pool.rooms.pool
            sid = runner.link.sid
        simulator.pause()
        orphans, persons = [str(uuid.uuid4()) for _ in range(2)], str(uuid.uuid4())
        async with Client.connected(simulator.url) as direct:
            for prompt_id in orphans:
                await direct.post("/prompt", {"prompt": save_graph(1), "client_id": sid, "prompt_id": prompt_id})
            await direct.submit(save_graph(2), prompt_id=persons)
            await simulator.held()
            async with gateway_over(tmp_path, simulators, config=QUICK) as pool:
                await pool.until(lambda: running_on(simulator) == [persons])
                assert holds(simulator) == 1
                simulator.resume()
                await direct.hear_end(persons)
                assert simulator.executed == [persons]
                assert pool.rooms.jobs.registry.remaining == 0


async def test_a_job_of_a_runner_that_left_the_configuration_is_run_elsewhere(tmp_path):
    async with AsyncExitStack() as stack:
        simulators = await simulated(stack, 2)
        async with gateway_over(tmp_path, simulators[:1]) as pool, Client.connected(pool.base) as client:
            ids = await fill(pool, client)
        async with (
            gateway_over(tmp_path, simulators[1:]) as pool,
            Client.connected(pool.base, sid=client.sid) as again,
        ):
            for prompt_id in ids:
                await ended_once(again, prompt_id)
            assert len(simulators[1].executed) == 2
