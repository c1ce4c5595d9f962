"""Runners that die, forget, hang and lose their link: every job still ends once, with its outputs."""

import pytest
from support.busy import QUICK, ended_once, fill, holds, queue_of, resume
from support.client import Client
from support.graphs import save_graph
from support.pools import running_pool


async def test_a_job_outlives_the_runner_that_dies_under_it(tmp_path):
    async with running_pool(tmp_path, 2, config=QUICK) as pool, Client.connected(pool.base) as client:
        for simulator in pool.simulators:
            simulator.pause(3)
        prompt_id = await client.submit(save_graph(1, steps=8))
        await client.hear_until("progress", value=1, prompt_id=prompt_id)
        (victim,) = [each for each in pool.simulators if holds(each)]
        held = await client.submit(save_graph(2))
        await victim.die()
        resume(pool)
        entry = await ended_once(client, prompt_id)
        await ended_once(client, held)
        assert client.told(prompt_id).count("execution_start") == 2, "progress starts again"
        assert entry["status"]["completed"]
        assert await client.files(prompt_id)
        (survivor,) = [each for each in pool.simulators if each is not victim]
        assert len(survivor.executed) == 2
        assert victim.executed == []


async def test_a_prompt_that_kills_two_runners_fails_and_leaves_the_third(tmp_path):
    async with running_pool(tmp_path, 3, config=QUICK) as pool, Client.connected(pool.base) as client:
        for simulator in pool.simulators:
            simulator.faults.die_after = 3
        prompt_id = await client.submit(save_graph(1, steps=8))
        entry = await ended_once(client, prompt_id, "execution_error")
        assert entry["status"]["messages"][-1][1]["exception_type"] == "PoisonPrompt"
        assert sum(each.died.is_set() for each in pool.simulators) == 2


@pytest.mark.parametrize("version", ["0.33.0", "0.3.64"])
async def test_a_runner_that_restarts_and_forgets(tmp_path, version):
    async with (
        running_pool(tmp_path, 1, options=[{"version": version}], config=QUICK) as pool,
        Client.connected(pool.base) as client,
    ):
        (simulator,) = pool.simulators
        ids = await fill(pool, client)
        waiting = await client.submit(save_graph(1))
        await simulator.restart(forget=True)
        resume(pool)
        for prompt_id in (*ids, waiting):
            await ended_once(client, prompt_id)
        assert len(simulator.executed) == 3


async def test_an_end_that_the_link_did_not_tell_is_found_with_its_outputs(tmp_path):
    async with running_pool(tmp_path, 1, config=QUICK) as pool, Client.connected(pool.base) as client:
        (simulator,) = pool.simulators
        simulator.pause(2)
        prompt_id = await client.submit(save_graph(1))
        await simulator.held()
        simulator.faults.refuse_websockets = True
        simulator.drop_websockets()
        simulator.resume()
        await simulator.idle()
        simulator.faults.refuse_websockets = False
        await ended_once(client, prompt_id)
        assert "executed" in client.told(prompt_id)
        assert len(await client.files(prompt_id)) == 1
        assert len(simulator.executed) == 1


async def test_an_end_is_found_while_the_link_stays_down(tmp_path):
    async with running_pool(tmp_path, 1, config=QUICK) as pool, Client.connected(pool.base) as client:
        (simulator,) = pool.simulators
        simulator.pause(2)
        prompt_id = await client.submit(save_graph(1))
        await simulator.held()
        simulator.faults.refuse_websockets = True
        for link in [runner.link for runner in pool.rooms.pool]:
            await link.reopen()
        simulator.resume()
        await ended_once(client, prompt_id)
        assert len(await client.files(prompt_id)) == 1


async def test_a_link_that_comes_back_in_the_middle_goes_on(tmp_path):
    async with running_pool(tmp_path, 1, config=QUICK) as pool, Client.connected(pool.base) as client:
        (simulator,) = pool.simulators
        (runner,) = pool.rooms.pool
        simulator.pause(2)
        prompt_id = await client.submit(save_graph(1, steps=6))
        await simulator.held()
        boot = runner.boot
        await runner.link.reopen()
        await pool.until(lambda: runner.boot > boot and runner.is_ready)
        simulator.resume()
        await ended_once(client, prompt_id)
        assert client.told(prompt_id).count("execution_start") == 1
        assert simulator.executed == [prompt_id]


async def test_a_prompt_whose_answer_was_cut_is_not_run_twice(tmp_path):
    async with running_pool(tmp_path, 2, config=QUICK) as pool, Client.connected(pool.base) as client:
        for simulator in pool.simulators:
            simulator.faults.lose_prompt_replies = 1
        ids = [await client.submit(save_graph(number)) for number in range(4)]
        for prompt_id in ids:
            await ended_once(client, prompt_id)
        assert sorted(pool.executed) == sorted(ids)


async def test_without_a_runner_the_gateways_own_checks_decide(tmp_path):
    async with running_pool(tmp_path, 1, config=QUICK) as pool, Client.connected(pool.base) as client:
        (simulator,) = pool.simulators
        (runner,) = pool.rooms.pool
        await simulator.refuse()
        await pool.until(lambda: not runner.is_ready)
        prompt_id = await client.submit(save_graph(1))
        assert await queue_of(client) == ([], [prompt_id])
        graph = save_graph(1)
        graph["2"]["class_type"] = "NobodyHasThis"
        status, answer = await client.post("/prompt", {"prompt": graph})
        assert (status, answer["error"]["type"]) == (400, "missing_node_type")
        status, answer = await client.post("/prompt", {"prompt": {}})
        assert (status, answer["error"]["type"]) == (400, "prompt_no_outputs")
        await simulator.accept()
        await ended_once(client, prompt_id)
        assert len(await client.history(prompt_id)) >= 4


async def test_a_runner_lost_while_it_is_asked_leaves_the_prompt_to_another(tmp_path):
    """Its answer comes after it was given up: the job must not stand there without an attempt."""
    async with running_pool(tmp_path, 1, config=QUICK) as pool, Client.connected(pool.base) as client:
        jobs = pool.rooms.jobs
        send = jobs.dispatcher.send

        async def lost_meanwhile(attempt, *, at_the_end):
            outcome = await send(attempt, at_the_end=at_the_end)
            jobs.dispatcher.send = send
            jobs._endings.lost(attempt, "gone for 15 s")
            return outcome

        jobs.dispatcher.send = lost_meanwhile
        prompt_id = await client.submit(save_graph(1))
        await ended_once(client, prompt_id)


async def test_a_nodes_exception_is_an_answer_and_not_tried_again(tmp_path):
    async with running_pool(tmp_path, 2) as pool, Client.connected(pool.base) as client:
        prompt_id = await client.submit(save_graph(1, fail_at=0))
        entry = await ended_once(client, prompt_id, "execution_error")
        assert entry["status"]["messages"][-1][1]["exception_type"] == "RuntimeError"
        assert client.told(prompt_id).count("execution_start") == 1
