"""Workflows through crashes and restarts: what was answered with 201 ends, once; what was not leaves nothing.

A crash is a copy of the data folder, made at the moment between two steps, in which the next life begins: what
`kill -9` leaves. The first life does nothing more from then on.
"""

import asyncio
import shutil
from contextlib import AsyncExitStack

import pytest
from support.busy import INVALID
from support.client import Client
from support.graphs import save_graph
from support.pools import gateway_over
from support.processes import gateway_process, runner_processes, write_config
from support.processes import until as until_true
from support.v1 import UNLIMITED, asking_graph, call, create, loading_graph, outputs_of, seen, until, workflow_fields

import gateway.jobs.dispatch
from gateway.jobs.dispatch import Dispatcher
from gateway.jobs.submission import Submissions
from gateway.simulator import Simulator, SimulatorOptions
from gateway.storage import workflows as rows


class Crash:
    """The moment of a crash, and what it leaves."""

    def __init__(self, folder) -> None:
        self.first, self.second = folder / "first", folder / "second"
        self.came = asyncio.Event()

    def now(self):
        if not self.came.is_set():
            shutil.copytree(self.first, self.second)
            self.came.set()

    async def for_ever(self):
        await asyncio.Event().wait()


def before_the_workflow_is_stored(crash, patch):
    """Its files are."""
    insert = rows.insert_workflow

    def inserting(row):
        crash.now()
        return insert(row)

    patch.setattr(rows, "insert_workflow", inserting)


def before_it_is_submitted(crash, patch):
    async def submit(self, request, owner, *more, **others):
        crash.now()
        await crash.for_ever()

    patch.setattr(Submissions, "submit", submit)


def before_a_runner_has_it(crash, patch):
    async def post(*_, **__):
        crash.now()
        await crash.for_ever()

    patch.setattr(gateway.jobs.dispatch, "post", post)


def after_a_runner_has_answered(crash, patch):
    post = gateway.jobs.dispatch.post

    async def posting(*parts, **more):
        await post(*parts, **more)
        crash.now()
        await crash.for_ever()

    patch.setattr(gateway.jobs.dispatch, "post", posting)


def before_the_answer_is_noted(crash, patch):
    answer = rows.answer_workflow

    def answering(*parts):
        crash.now()
        return answer(*parts)

    patch.setattr(rows, "answer_workflow", answering)


ACCEPTED = [
    before_it_is_submitted,
    before_a_runner_has_it,
    after_a_runner_has_answered,
    before_the_answer_is_noted,
]


@pytest.fixture
async def simulators():
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(Simulator(SimulatorOptions(name=f"gpu-{number}", draw=False)))
            for number in range(2)
        ]


async def crashed(tmp_path, monkeypatch, simulators, step, graph, **fields):
    """Creates a workflow in a first life that ends at a step; returns the folder for the next one."""
    crash = Crash(tmp_path)
    with monkeypatch.context() as patch:
        step(crash, patch)
        patch.setattr(Dispatcher, "_drop", lambda *_: asyncio.sleep(0))  # a dead gateway says nothing to its runners
        async with (
            gateway_over(crash.first, simulators, config=UNLIMITED) as pool,
            Client.connected(pool.base) as client,
        ):
            creating = asyncio.create_task(
                call(client, "POST", "/v1/workflow", 201, fields=workflow_fields(graph, **fields))
            )
            async with asyncio.timeout(20):
                await crash.came.wait()
            creating.cancel()
            await asyncio.gather(creating, return_exceptions=True)
    return crash.second


@pytest.mark.parametrize("step", ACCEPTED)
async def test_what_was_accepted_runs_once(tmp_path, monkeypatch, simulators, step):
    folder = await crashed(tmp_path, monkeypatch, simulators, step, asking_graph(), **{"$prefix": "kept"})
    async with gateway_over(folder, simulators, config=UNLIMITED) as pool, Client.connected(pool.base) as client:
        (listed,) = (await client.get("/v1/workflow"))["workflows"]
        told = await until(client, listed["id"], "completed")
        assert told["workflow_params"] == [["$text(prefix)", "kept"]]
        assert len(await outputs_of(client, listed["id"])) == 2
        assert len(pool.executed) == 1


@pytest.mark.parametrize("step", ACCEPTED)
async def test_what_is_invalid_is_told_why(tmp_path, monkeypatch, simulators, step):
    folder = await crashed(tmp_path, monkeypatch, simulators, step, INVALID)
    async with gateway_over(folder, simulators, config=UNLIMITED) as pool, Client.connected(pool.base) as client:
        (listed,) = (await client.get("/v1/workflow"))["workflows"]
        told = await until(client, listed["id"], "invalid")
        assert told["node_errors"]["1"]["errors"][0]["type"] == "required_input_missing"
        assert (await client.get("/queue")) == {"queue_running": [], "queue_pending": []}
        assert pool.executed == []


async def test_what_only_the_gateway_could_check_is_invalid_once_a_runner_says_so(tmp_path, simulators):
    (simulator, other) = simulators
    await other.refuse()
    async with gateway_over(tmp_path, [simulator], config=UNLIMITED) as pool, Client.connected(pool.base) as client:
        await simulator.refuse()
        await pool.until(lambda: not pool.rooms.pool.ready())
        graphs = [save_graph(1), save_graph(2, steps=-5), save_graph(3)]
        good, invalid, unwanted = [await create(client, graph) for graph in graphs]
        for each in (good, invalid, unwanted):
            await until(client, each, "queued")
        await call(client, "POST", f"/v1/workflow/{unwanted}/cancel")
        await simulator.accept()
        await until(client, good, "completed")
        told = await until(client, invalid, "invalid")
        assert list(told["node_errors"]) == ["2"]
        assert (await seen(client, unwanted))["status"] == "cancelled"
        assert len(pool.executed) == 1


@pytest.mark.parametrize("step", ACCEPTED)
async def test_its_files_are_there(tmp_path, monkeypatch, simulators, step):
    async with (
        gateway_over(tmp_path / "before", simulators, config=UNLIMITED) as pool,
        Client.connected(pool.base) as client,
    ):
        source = await create(client, save_graph(1))
        await until(client, source, "completed")
        (picture,) = await outputs_of(client, source)
    folder = await crashed(tmp_path, monkeypatch, simulators, step, loading_graph(), **{"$photo": ("a.png", picture)})
    async with gateway_over(folder, simulators, config=UNLIMITED) as pool, Client.connected(pool.base) as client:
        (listed,) = (await client.get("/v1/workflow"))["workflows"]
        await until(client, listed["id"], "completed")
        assert len(await outputs_of(client, listed["id"])) == 1
        await call(client, "DELETE", f"/v1/workflow/{listed['id']}")
        assert pool.rooms.uploads.rows("input") == []


async def test_what_was_not_answered_leaves_nothing(tmp_path, monkeypatch, simulators):
    photo = {"$photo": ("a.png", b"a picture")}
    step = before_the_workflow_is_stored
    folder = await crashed(tmp_path, monkeypatch, simulators, step, loading_graph(), **photo)
    async with gateway_over(folder, simulators, config=UNLIMITED) as pool, Client.connected(pool.base) as client:
        assert (await client.get("/v1/workflow"))["total"] == 0
        assert pool.rooms.uploads.rows("input") == []
        assert not [path for path in (folder / "blobs").rglob("*") if path.is_file()]


async def test_a_restart_changes_nothing(tmp_path, simulators):
    async with gateway_over(tmp_path, simulators, config=UNLIMITED) as pool, Client.connected(pool.base) as client:
        done = await create(client, save_graph(1))
        invalid = await create(client, INVALID)
        await until(client, done, "completed")
        await until(client, invalid, "invalid")
        for simulator in simulators:
            simulator.pause()
        going = [await create(client, save_graph(seed)) for seed in range(2, 10)]
        for each in going:
            await until(client, each, "queued", "running")
        before = [await seen(client, each) for each in (done, invalid, *going)]
        (output,) = await call(client, "GET", f"/v1/workflow/{done}/outputs")
    async with gateway_over(tmp_path, simulators, config=UNLIMITED) as pool, Client.connected(pool.base) as client:
        assert [await seen(client, each) for each in (done, invalid, *going)] == before
        async with client.http.get(pool.base + output["src"].split("/", 3)[3].join(["/", ""])) as answer:
            assert answer.status == 200, "the key of signed URLs outlives the gateway"
        for simulator in simulators:
            simulator.resume()
        for each in going:
            await until(client, each, "completed")
        assert len(pool.executed) == 9


async def test_two_hundred_at_once(tmp_path, simulators):
    async with gateway_over(tmp_path, simulators, config=UNLIMITED) as pool, Client.connected(pool.base) as client:
        graph = asking_graph(steps=1)
        ids = await asyncio.gather(*(create(client, graph, f"run {n}", **{"$prefix": f"p{n}"}) for n in range(200)))
        assert len(set(ids)) == 200
        ended = await asyncio.gather(*(until(client, each, "completed") for each in ids))
        assert len(pool.executed) == 200
        for number, told in enumerate(ended):
            assert (told["name"], told["workflow_params"]) == (f"run {number}", [["$text(prefix)", f"p{number}"]])
        assert (await client.get("/v1/workflow"))["total"] == 200
        sample = await outputs_of(client, ids[123])
        assert len(sample) == 2


@pytest.mark.timeout(240)
async def test_the_process_is_killed_while_workflows_come_in(tmp_path):
    """What had its 201 before `kill -9` ends once, with its outputs; what had none is whole, or is not there."""
    async with runner_processes(tmp_path, 2) as runners:
        config = write_config(tmp_path, runners, **UNLIMITED)
        told: list[str] = []
        async with gateway_process(config) as gateway, Client.connected(gateway.url) as client:

            async def keep_creating(seed):
                while True:
                    told.append(await create(client, save_graph(seed * 1000 + len(told)), f"run {seed}"))

            creating = [asyncio.create_task(keep_creating(seed)) for seed in range(4)]
            await until_true(lambda: asyncio.sleep(0, len(told) >= 40), "40 workflows are accepted")
            await gateway.kill()
            await asyncio.gather(*creating, return_exceptions=True)
        async with gateway_process(config) as gateway, Client.connected(gateway.url) as client:
            total = (await call(client, "GET", "/v1/workflow"))["total"]
            pages = [await call(client, "GET", f"/v1/workflow?per_page=100&page={page}") for page in (1, 2, 3)]
            ids = [each["id"] for page in pages for each in page["workflows"]]
            assert len(ids) == total <= len(told) + 4
            assert set(told) <= set(ids)
            for each in ids:
                await until(client, each, "completed")
            assert len(await outputs_of(client, told[0])) == 1
        ran = [graph["2"]["inputs"]["seed"] for runner in runners for graph in await runner.executed()]
        assert len(ran) == len(set(ran)) == total
