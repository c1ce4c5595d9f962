"""Deleting, clearing, interrupting and cancelling, on runners old and new."""

import uuid

import pytest
from support.busy import fill, hear_ends, holds, queue_of, resume, running_on
from support.client import Client
from support.graphs import save_graph
from support.pools import running_pool

from gateway.jobs.states import JobState

NEW, OLD = {"version": "0.33.0"}, {"version": "0.3.64"}
MIXES = pytest.mark.parametrize("options", [[NEW, NEW], [OLD, OLD], [NEW, OLD]], ids=["new", "old", "mixed"])


async def state_of(pool, prompt_id):
    job = pool.rooms.jobs.registry.get(prompt_id)
    return job.state if job else None


async def by_state(pool, client):
    """The jobs of a busy pool: one that runs, one that a runner holds, one that waits."""
    ids = await fill(pool, client)
    waiting = await client.submit(save_graph(1))
    jobs = [pool.rooms.jobs.registry.get(prompt_id) for prompt_id in ids]
    await pool.until(lambda: sum(job.state is JobState.RUNNING for job in jobs) == len(pool.simulators))
    running = [job.id for job in jobs if job.state is JobState.RUNNING]
    held = [job.id for job in jobs if job.state is JobState.DISPATCHED]
    return running, held, waiting


@MIXES
async def test_delete_takes_out_what_has_not_begun(tmp_path, options):
    async with running_pool(tmp_path, 2, options=options) as pool, Client.connected(pool.base) as client:
        running, held, waiting = await by_state(pool, client)
        status, answer = await client.post("/queue", {"delete": [running[0], held[0], waiting, "unknown"]})
        assert (status, answer) == (200, "")
        assert await queue_of(client) == (running, held[1:])
        assert sorted(holds(each) for each in pool.simulators) == [1, 2]
        resume(pool)
        await hear_ends(client, (*running, held[1]))
        assert sorted(pool.executed) == sorted([*running, held[1]])
        assert set(await client.get("/history")) == {*running, held[1]}
        assert client.told(held[0]) == client.told(waiting) == []


@MIXES
async def test_clear_takes_out_everything_that_has_not_begun(tmp_path, options):
    async with running_pool(tmp_path, 2, options=options) as pool, Client.connected(pool.base) as client:
        running, _, _ = await by_state(pool, client)
        assert await client.post("/queue", {"clear": True}) == (200, "")
        assert await queue_of(client) == (running, [])
        assert [holds(each) for each in pool.simulators] == [1, 1]
        resume(pool)
        await hear_ends(client, running)
        assert sorted(pool.executed) == sorted(running)


@MIXES
async def test_interrupt_by_id_hits_the_named_job_only_if_it_runs(tmp_path, options):
    async with running_pool(tmp_path, 2, options=options) as pool, Client.connected(pool.base) as client:
        running, held, waiting = await by_state(pool, client)
        for prompt_id in (held[0], waiting, "unknown", running[0]):
            assert await client.post("/interrupt", {"prompt_id": prompt_id}) == (200, "")
        await client.hear_until("execution_interrupted", prompt_id=running[0])
        await client.hear_end(running[0])
        resume(pool)
        await hear_ends(client, (running[1], *held, waiting))
        assert sorted(pool.executed) == sorted([running[1], *held, waiting])
        entry = await client.history(running[0])
        assert entry["status"]["status_str"] == "error"


@MIXES
async def test_cancel_ends_a_job_in_every_state(tmp_path, options):
    async with running_pool(tmp_path, 2, options=options) as pool, Client.connected(pool.base) as client:
        running, held, waiting = await by_state(pool, client)
        for prompt_id in (waiting, held[0], running[0]):
            assert await client.post(f"/api/jobs/{prompt_id}/cancel") == (200, {"cancelled": True})
        await client.hear_end(running[0])
        resume(pool)
        await hear_ends(client, (running[1], held[1]))
        for prompt_id in (running[1], waiting, held[0], running[0], str(uuid.uuid4())):
            assert await client.post(f"/api/jobs/{prompt_id}/cancel") == (200, {"cancelled": False})
        assert sorted(pool.executed) == sorted([running[1], held[1]])
        assert set(await client.get("/history")) == {*running, held[1]}
        job = await client.get(f"/api/jobs/{running[0]}")
        assert job["status"] == "cancelled"


async def two_running(pool, first, second):
    for simulator in pool.simulators:
        simulator.pause()
    mine, theirs = await first.submit(save_graph(1)), await second.submit(save_graph(2))
    for simulator in pool.simulators:
        await simulator.held()
    await first.hear_until("execution_start", prompt_id=mine)
    await second.hear_until("execution_start", prompt_id=theirs)
    return mine, theirs


async def ends(client, prompt_id, kind):
    await client.hear_end(prompt_id)
    assert client.told(prompt_id)[-2:] == [kind, "executing"]


@pytest.mark.parametrize("who", ["cookie", "query", "nobody"])
async def test_interrupt_without_an_id_reaches_the_callers_own_jobs(tmp_path, who):
    async with (
        running_pool(tmp_path, 2) as pool,
        Client.connected(pool.base) as second,
        Client.connected(pool.base) as first,
    ):
        if who == "cookie":
            first.http.cookie_jar._unsafe = True
            async with first.http.get(pool.base + "/") as page:
                assert page.cookies
            await first.socket.close()
            await pool.until(lambda: len(pool.rooms.hub) == 1)
            first.socket = await first.http.ws_connect(f"{pool.base}/ws?clientId={first.sid}")
            await first.hear_until("status")
        mine, theirs = await two_running(pool, first, second)
        path = f"/interrupt?clientId={first.sid}" if who == "query" else "/interrupt"
        assert (await first.post(path))[0] == 200
        await ends(first, mine, "execution_interrupted")
        if who != "nobody":
            assert any(theirs in running_on(each) for each in pool.simulators)
            resume(pool)
        await ends(second, theirs, "execution_interrupted" if who == "nobody" else "execution_success")


async def test_clear_of_one_client_leaves_the_others_jobs(tmp_path):
    async with (
        running_pool(tmp_path, 1) as pool,
        Client.connected(pool.base) as first,
        Client.connected(pool.base) as second,
    ):
        await fill(pool, first)
        mine, theirs = await first.submit(save_graph(1)), await second.submit(save_graph(2))
        await first.post(f"/queue?clientId={first.sid}", {"clear": True})
        _, pending = await queue_of(second)
        assert pending == [theirs]
        assert mine not in pending
        resume(pool)
        await second.hear_end(theirs)


async def test_what_is_cancelled_while_its_runner_hangs_ends_when_it_answers(tmp_path):
    async with running_pool(tmp_path, 1) as pool, Client.connected(pool.base) as client:
        (simulator,) = pool.simulators
        running, held = await fill(pool, client)
        await client.hear_until("execution_start", prompt_id=running)
        simulator.faults.path, simulator.faults.status = "/queue", 503
        await client.post("/queue", {"delete": [held]})
        simulator.faults.clear()
        await pool.until(lambda: pool.rooms.jobs.registry.get(held) is None)
        assert holds(simulator) == 1
        simulator.resume()
        await client.hear_end(running)
        assert simulator.executed == [running]


async def test_a_waiting_jobs_place_is_the_same_wherever_it_is_told(tmp_path):
    async with running_pool(tmp_path, 1) as pool, Client.connected(pool.base) as client:
        pool.simulators[0].pause()
        ids = [await client.submit(save_graph(seed)) for seed in range(4)]
        await pool.simulators[0].held()
        listed = (await client.get("/api/jobs?status=pending&sort_order=asc"))["jobs"]
        places = {row["id"]: row["queue_position"] for row in listed}
        assert places == {prompt_id: place for place, prompt_id in enumerate(ids[1:], start=1)}
        assert places == {
            prompt_id: (await client.get(f"/api/jobs/{prompt_id}"))["queue_position"] for prompt_id in places
        }
        pool.simulators[0].resume()
