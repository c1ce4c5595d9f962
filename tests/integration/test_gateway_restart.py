"""The gateway stops and starts again while its runners go on: every job is found, and ends once."""

import uuid
from contextlib import AsyncExitStack

import pytest
from support.busy import QUICK, ended_once, fill, holds, queue_of, running_on
from support.client import Client
from support.graphs import save_graph
from support.pools import gateway_over

from gateway.jobs.dispatch import Dispatcher
from gateway.jobs.endings import Endings
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


async def is_silent_about(client, prompt_ids):
    """Nothing of these jobs comes before what is asked for now."""
    marker = await client.submit(save_graph(999))
    await client.hear_end(marker)
    assert all(client.told(prompt_id) == [] for prompt_id in prompt_ids)


async def test_a_client_that_was_away_hears_of_the_end_from_the_next_life_and_once(tmp_path):
    async with AsyncExitStack() as stack:
        simulators = await simulated(stack, 1)
        async with gateway_over(tmp_path, simulators) as pool:
            simulators[0].pause()
            async with Client.connected(pool.base) as client:
                ids = [await client.submit(save_graph(seed)) for seed in (1, 2)]
            simulators[0].resume()
            await pool.until(lambda: pool.rooms.jobs.registry.remaining == 0)
        async with gateway_over(tmp_path, simulators) as pool:
            async with Client.connected(pool.base, sid=client.sid) as again:
                await again.hear_end(ids[1])
                for prompt_id in ids:
                    assert again.told(prompt_id) == ["executed", "execution_success", "executing"]
                (output,) = [
                    frame["data"]["output"]
                    for frame in again.heard
                    if frame["type"] == "executed" and frame["data"]["prompt_id"] == ids[0]
                ]
                assert output == (await again.history(ids[0]))["outputs"]["3"]
            async with Client.connected(pool.base, sid=client.sid) as once_more:
                await is_silent_about(once_more, ids)
        async with gateway_over(tmp_path, simulators) as pool, Client.connected(pool.base, sid=client.sid) as third:
            await is_silent_about(third, ids)


async def test_an_end_that_was_stored_and_not_told_is_told_by_the_next_life(tmp_path, monkeypatch):
    """As if the gateway had been killed between the commit and its first word."""
    async with AsyncExitStack() as stack:
        simulators = await simulated(stack, 1)
        with monkeypatch.context() as killed:
            killed.setattr(Endings, "_tell_end", lambda *_: None)
            async with gateway_over(tmp_path, simulators) as pool, Client.connected(pool.base) as client:
                prompt_id = await client.submit(save_graph(1))
                await pool.until(lambda: pool.rooms.jobs.registry.remaining == 0)
        async with gateway_over(tmp_path, simulators) as pool, Client.connected(pool.base, sid=client.sid) as again:
            await ended_once(again, prompt_id)


async def test_a_cancellation_that_was_answered_is_carried_out_by_the_next_life(tmp_path, monkeypatch):
    """As if the gateway had been killed between its answer to the client and its call to the runner."""

    async def killed_before(*_):
        return True

    async with AsyncExitStack() as stack:
        simulators = await simulated(stack, 1)
        async with gateway_over(tmp_path, simulators) as pool, Client.connected(pool.base) as client:
            running, held = await fill(pool, client)
            waiting = await client.submit(save_graph(1))
            with monkeypatch.context() as killed:
                killed.setattr(Dispatcher, "obey", killed_before)
                for prompt_id in (running, held, waiting):
                    assert await client.post(f"/api/jobs/{prompt_id}/cancel") == (200, {"cancelled": True})
                pool.rooms.jobs.dispatcher._is_open = False
                await pool.rooms.db.flushed()
                await pool.rooms.pool.stop()
        async with gateway_over(tmp_path, simulators) as pool, Client.connected(pool.base, sid=client.sid) as again:
            await ended_once(again, running, "execution_interrupted")
            simulators[0].resume()
            await pool.until(lambda: pool.rooms.jobs.registry.remaining == 0)
            await simulators[0].idle()
            assert simulators[0].executed == []
            assert set(await again.get("/history")) == {running}
