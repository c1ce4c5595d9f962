"""Several jobs of one client at once: a tab is told one after the other, a script everything, and a serial client's
jobs run one at a time."""

import asyncio
from itertools import pairwise

import pytest
from support.busy import hear_ends, resume, running_on
from support.client import Client
from support.graphs import save_graph
from support.pools import running_pool

from gateway.comfyui import frames
from gateway.jobs.states import JobState
from gateway.simulator import extra_node

FLAGS = {"supports_preview_metadata": True, "supports_progress_text_metadata": True}
RUNNERS = 3


async def hold_all(pool, client, count, graph=save_graph, **more):
    """Submits jobs while every runner is paused in the middle of its first one; returns their ids."""
    for simulator in pool.simulators:
        simulator.pause(3)
    ids = [await client.submit(graph(number, **more)) for number in range(count)]
    for simulator in pool.simulators:
        await simulator.held()
    await pool.until(lambda: len(running(pool)) == len(pool.simulators))
    assert all(running_on(simulator) for simulator in pool.simulators)
    return ids


def running(pool):
    return [job.id for job in pool.rooms.jobs.live(None, JobState.RUNNING)]


def turns(client):
    """Whose frames were heard, each run of frames of one job once."""
    found = []
    for frame in client.heard:
        job = job_of(frame)
        if job is not None and found[-1:] != [job]:
            found.append(job)
    return found


def job_of(frame):
    if isinstance(frame, bytes):
        metadata = frames.decode_preview(frame).metadata  # None: drawn again before the flags of a new socket came
        return None if metadata is None else metadata["prompt_id"]
    return frame["data"].get("prompt_id")


def check_whole(client, prompt_id):
    """What one server tells of a job, from its start to its end."""
    told = client.told(prompt_id)
    assert told[:2] == ["execution_start", "execution_cached"], told
    assert told[-2:] == ["execution_success", "executing"], told
    assert [told.count(kind) for kind in ("execution_start", "executed", "execution_success")] == [1, 1, 1]
    nodes = [
        frame["data"]["node"]
        for frame in client.heard
        if isinstance(frame, dict) and frame["type"] == "executing" and frame["data"].get("prompt_id") == prompt_id
    ]
    assert nodes == ["1", "2", "3", None]


async def test_a_tab_is_told_a_serial_run_of_jobs_that_run_in_parallel(tmp_path):
    async with running_pool(tmp_path, RUNNERS) as pool, Client.connected(pool.base, flags=FLAGS) as tab:
        await tab.hear_until("feature_flags")
        ids = await hold_all(pool, tab, 6, steps=4)
        resume(pool)
        await hear_ends(tab, ids)
        assert sorted(turns(tab)) == sorted(ids), "each job in one piece"
        for prompt_id in ids:
            check_whole(tab, prompt_id)
        assert sorted(pool.executed) == sorted(ids)
        assert all(len(simulator.executed) >= 1 for simulator in pool.simulators)


async def test_http_tells_at_once_what_waits_for_its_turn_on_the_socket(tmp_path):
    async with running_pool(tmp_path, RUNNERS) as pool, Client.connected(pool.base, flags=FLAGS) as tab:
        await tab.hear_until("feature_flags")
        ids = await hold_all(pool, tab, RUNNERS, steps=4)
        focused = (await tab.hear_until("execution_start"))["data"]["prompt_id"]
        held = next(simulator for simulator in pool.simulators if running_on(simulator) == [focused])
        for simulator in pool.simulators:
            if simulator is not held:
                simulator.resume()
        others = set(ids) - {focused}
        await pool.until(lambda: all(each in pool.rooms.jobs.history for each in others))
        assert all([(await tab.history(each))["status"]["completed"] for each in others])
        assert (await tab.get("/prompt"))["exec_info"]["queue_remaining"] == 1
        held.resume()
        await hear_ends(tab, ids)
        assert turns(tab)[0] == focused
        assert len(turns(tab)) == RUNNERS


async def test_a_script_hears_jobs_as_they_run(tmp_path):
    async with running_pool(tmp_path, RUNNERS) as pool, Client.connected(pool.base) as script:
        ids = await hold_all(pool, script, 6, steps=4)
        started = {(await script.hear_until("execution_start"))["data"]["prompt_id"] for _ in range(RUNNERS)}
        assert len(started) == RUNNERS
        assert not any(isinstance(frame, dict) and frame["type"] == "executed" for frame in script.heard)
        resume(pool)
        await hear_ends(script, ids)
        for prompt_id in ids:
            check_whole(script, prompt_id)


@pytest.mark.parametrize(("flags", "mode"), [(FLAGS, "raw"), (None, "raw"), (None, "quick")])
async def test_the_mode_can_be_chosen(tmp_path, flags, mode):
    async with running_pool(tmp_path, 2) as pool, Client.connected(pool.base, flags=flags, mode=mode) as client:
        ids = await hold_all(pool, client, 2)
        assert {(await client.hear_until("execution_start"))["data"]["prompt_id"] for _ in range(2)} == set(ids)


async def test_the_mode_can_be_configured(tmp_path):
    config = {"sessions": {"mode": "focus"}}
    async with running_pool(tmp_path, 2, config=config) as pool, Client.connected(pool.base) as client:
        ids = await hold_all(pool, client, 4)
        resume(pool)
        await hear_ends(client, ids)
        for prompt_id in ids:
            check_whole(client, prompt_id)
        assert sorted(turns(client)) == sorted(ids)


async def periods(client, ids):
    """When each job began and ended on its runner, in ms, in order."""
    found = []
    for prompt_id in ids:
        told = dict((await client.history(prompt_id))["status"]["messages"])
        found.append((told["execution_start"]["timestamp"], told["execution_success"]["timestamp"], prompt_id))
    return sorted(found)


async def test_a_serial_clients_jobs_run_one_at_a_time_and_in_order(tmp_path):
    async with (
        running_pool(tmp_path, RUNNERS) as pool,
        Client.connected(pool.base, mode="serial") as client,
        Client.connected(pool.base) as other,
    ):
        await client.hear_until("status")
        for simulator in pool.simulators:
            simulator.pause()
        ids = await asyncio.gather(*(client.submit(save_graph(number, seconds=0.02)) for number in range(6)))
        await pool.until(lambda: len(running(pool)) == 1)
        numbers = {item[1]: item[0] for part in (await client.get("/queue")).values() for item in part}
        theirs = [await other.submit(save_graph(100 + number)) for number in range(2)]
        await pool.until(lambda: len(running(pool)) == RUNNERS)
        assert set(theirs) <= set(running(pool)), "others are not held back"
        resume(pool)
        await hear_ends(client, ids)
        times = await periods(client, ids)
        assert all(end <= start for (_, end, _), (start, _, _) in pairwise(times))
        assert [numbers[prompt_id] for *_, prompt_id in times] == sorted(numbers[prompt_id] for prompt_id in ids)
        for prompt_id in ids:
            check_whole(client, prompt_id)


async def test_a_serial_client_gets_a_runners_own_400_while_its_job_runs(tmp_path):
    async with running_pool(tmp_path, RUNNERS) as pool, Client.connected(pool.base, mode="serial") as client:
        await client.hear_until("status")
        for simulator in pool.simulators:
            simulator.pause()
        await client.submit(save_graph(1))
        bad = save_graph(2)
        del bad["3"]["inputs"]["images"]
        status, answer = await client.post("/prompt", {"prompt": bad, "client_id": client.sid})
        assert status == 400
        assert answer["node_errors"]["3"]["errors"][0]["type"] == "required_input_missing"
        resume(pool)


async def test_a_tab_that_comes_back_hears_the_same_job_first(tmp_path):
    async with running_pool(tmp_path, RUNNERS) as pool:
        async with Client.connected(pool.base, flags=FLAGS) as tab:
            await tab.hear_until("feature_flags")
            ids = await hold_all(pool, tab, RUNNERS, steps=4)
            focused = (await tab.hear_until("execution_start"))["data"]["prompt_id"]
        await pool.until(lambda: len(pool.rooms.hub) == 0)
        async with Client.connected(pool.base, sid=tab.sid, flags=FLAGS) as again:
            await again.hear_until("executing", prompt_id=focused, node="2")
            resume(pool)
            await hear_ends(again, ids)
            assert turns(again)[0] == focused
            assert len(turns(again)) == RUNNERS
            for prompt_id in ids:
                check_start_to_end(again, prompt_id)


def check_start_to_end(client, prompt_id):
    told = client.told(prompt_id)
    assert told[:2] == ["execution_start", "execution_cached"]
    assert told[-2:] == ["execution_success", "executing"]
    assert told.count("executed") == 1


async def test_the_next_is_told_when_the_focused_job_is_interrupted(tmp_path):
    async with running_pool(tmp_path, 2) as pool, Client.connected(pool.base, flags=FLAGS) as tab:
        await tab.hear_until("feature_flags")
        ids = await hold_all(pool, tab, 2, steps=4)
        focused = (await tab.hear_until("execution_start"))["data"]["prompt_id"]
        await tab.post("/interrupt", {"prompt_id": focused})
        await tab.hear_end(focused)
        assert tab.told(focused)[-2:] == ["execution_interrupted", "executing"]
        (other,) = set(ids) - {focused}
        await tab.hear_until("execution_start", prompt_id=other)
        resume(pool)
        await tab.hear_end(other)


async def test_a_lost_runner_gives_the_turn_to_another_job_and_the_retry_is_told_whole(tmp_path):
    config = {"health": {"interval_seconds": 0.1, "grace_seconds": 0.3}}
    async with running_pool(tmp_path, 2, config=config) as pool, Client.connected(pool.base, flags=FLAGS) as tab:
        await tab.hear_until("feature_flags")
        ids = await hold_all(pool, tab, 2, steps=4)
        focused = (await tab.hear_until("execution_start"))["data"]["prompt_id"]
        (other,) = set(ids) - {focused}
        lost = next(simulator for simulator in pool.simulators if running_on(simulator) == [focused])
        await lost.die()
        await tab.hear_until("execution_start", prompt_id=other)
        resume(pool)
        await hear_ends(tab, ids)
        assert turns(tab) == [focused, other, focused]
        told = tab.told(focused)
        assert told.count("execution_start") == 2
        assert told.count("execution_success") == 1


async def test_result_pictures_of_a_waiting_job_come_in_their_place(tmp_path):
    def graph(number, **_):
        return {
            "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 3, "color": number}},
            "2": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}},
        }

    options = [{"extra_nodes": (extra_node("SaveImageWebsocket"),)}] * 2
    async with (
        running_pool(tmp_path, 2, options=options) as pool,
        Client.connected(pool.base, flags=FLAGS) as tab,
    ):
        await tab.hear_until("feature_flags")
        for simulator in pool.simulators:
            simulator.pause()
        ids = [await tab.submit(graph(number)) for number in range(4)]
        await pool.until(lambda: len(running(pool)) == 2)
        resume(pool)
        await hear_ends(tab, ids)
        assert sorted(turns(tab)) == sorted(ids)
        for prompt_id in ids:
            pictures = [frame for frame in tab.heard if isinstance(frame, bytes) and job_of(frame) == prompt_id]
            assert len(pictures) == 3
            assert {frames.decode_preview(frame).mime for frame in pictures} == {"image/png"}
