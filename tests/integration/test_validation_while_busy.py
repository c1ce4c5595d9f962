"""A prompt is validated by a real runner at once, also while every slot is taken, and leaves no trace there."""

import asyncio

import pytest
from support.busy import INVALID, fill, hear_ends, holds, queue_of, resume
from support.client import Client
from support.graphs import save_graph
from support.pools import running_pool

from gateway.storage.jobs import owner_of

VERSIONS = [{"version": "0.33.0"}, {"version": "0.3.64"}]


@pytest.mark.parametrize("version", ["0.33.0", "0.3.64"])
async def test_an_invalid_prompt_gets_the_runners_own_answer_at_once(tmp_path, version):
    options = [{"version": version}] * 2
    async with running_pool(tmp_path, 2, options=options) as pool, Client.connected(pool.base) as client:
        ids = await fill(pool, client)
        before = await queue_of(client)
        status, answer = await client.post("/prompt", {"prompt": INVALID, "prompt_id": ids[0][:-4] + "0000"})
        async with client.http.post(pool.simulators[0].url + "/prompt", json={"prompt": INVALID}) as own:
            assert (status, answer) == (400, await own.json())
        assert answer["node_errors"]
        assert await queue_of(client) == before
        assert [holds(each) for each in pool.simulators] == [2, 2]
        assert all(each.state.queue.history == {} for each in pool.simulators)
        resume(pool)
        await asyncio.gather(*(each.idle() for each in pool.simulators))
        await pool.until(lambda: pool.rooms.jobs.registry.remaining == 0)
        assert set(await client.get("/history")) == set(ids)
        assert sorted(pool.executed) == sorted(ids)


async def test_an_id_that_was_refused_can_be_used_for_the_corrected_prompt(tmp_path):
    """At once: a refusal is durable before it is told, so nothing of the refused one is left by then."""
    async with running_pool(tmp_path, 1) as pool, Client.connected(pool.base) as client:
        status, _ = await client.post("/prompt", {"prompt": INVALID, "prompt_id": "mine"})
        assert status == 400
        assert await owner_of(pool.rooms.db, "mine") is None
        assert await client.submit(save_graph(1), prompt_id="mine") == "mine"
        await client.hear_end("mine")


async def test_valid_prompts_are_taken_back_and_run_in_their_order(tmp_path):
    async with (
        running_pool(tmp_path, 2, options=VERSIONS) as pool,
        Client.connected(pool.base) as client,
        Client.connected(pool.base) as other,
    ):
        busy = await fill(pool, client)
        waiting = [await other.submit(save_graph(number)) for number in range(6)]
        assert [holds(each) for each in pool.simulators] == [2, 2]
        running, pending = await queue_of(client)
        assert set(running) | set(pending[:2]) == set(busy)
        assert pending[2:] == waiting
        resume(pool)
        await hear_ends(other, waiting)
        starts = [
            frame["data"]["prompt_id"]
            for frame in other.heard
            if isinstance(frame, dict) and frame["type"] == "execution_start"
        ]
        assert sorted(starts) == sorted(waiting)
        places = [starts.index(prompt_id) for prompt_id in waiting]
        assert all(abs(place - due) <= 2 for due, place in enumerate(places)), "two runners begin in turn"
        assert len(pool.executed) == len(set(pool.executed)) == 10


async def test_one_runner_runs_by_number_front_and_age(tmp_path):
    async with running_pool(tmp_path, 1) as pool, Client.connected(pool.base) as client:
        (simulator,) = pool.simulators
        busy = await fill(pool, client)
        wanted = {}
        for name, more in {
            "third": {},
            "fourth": {},
            "second": {"front": True},
            "first": {"number": -100},
            "last": {"number": 1e6},
        }.items():
            wanted[name] = await client.submit(save_graph(len(wanted)), **more)
        _, pending = await queue_of(client)
        order = [wanted[name] for name in ("first", "second", "third", "fourth", "last")]
        assert pending == [*order[:2], busy[1], *order[2:]], "shown by number, wherever they stand"
        resume(pool)
        await client.hear_end(wanted["last"])
        assert simulator.executed == [*busy, *order]


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "x", None, [1]])
async def test_a_number_without_a_place_in_an_order_is_no_number(tmp_path, number):
    async with running_pool(tmp_path, 1) as pool, Client.connected(pool.base) as client:
        status, _ = await client.post("/prompt", {"prompt": save_graph(1), "number": number})
        assert status == 500
        assert await queue_of(client) == ([], [])


async def test_a_runner_never_holds_more_than_its_slots(tmp_path):
    async with (
        running_pool(tmp_path, 2, runners={"prefetch": 2}) as pool,
        Client.connected(pool.base) as client,
    ):
        most = {}
        for each in pool.simulators:
            put = each.state.queue.put

            def watched(item, put=put, each=each):
                put(item)
                if item[0] < 2**53:  # one that is only validated is behind all others
                    most[each.options.name] = max(most.get(each.options.name, 0), holds(each))

            each.state.queue.put = watched
        ids = [await client.submit(save_graph(number)) for number in range(24)]
        await hear_ends(client, ids)
        assert len(pool.executed) == 24
        assert max(most.values()) <= 3


async def test_a_queue_that_is_full_refuses(tmp_path):
    async with (
        running_pool(tmp_path, 1, config={"queue": {"max_pending": 2}}) as pool,
        Client.connected(pool.base) as client,
    ):
        await fill(pool, client)
        status, answer = await client.post("/prompt", {"prompt": save_graph(1)})
        assert status == 429
        assert answer["error"]["message"]
