"""``/v1/workflow``: every documented call with its errors."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs
from support.busy import INVALID, fill, resume
from support.client import Client
from support.graphs import save_graph
from support.v1 import (
    NOWHERE,
    TIME,
    UUID4,
    asking_graph,
    call,
    create,
    loading_graph,
    outputs_of,
    refusal,
    seen,
    until,
    v1_pool,
    workflow_fields,
)

from gateway.simulator import Simulator, SimulatorOptions

COMPACT = {"id", "name", "status", "tags", "created_at", "updated_at", "started_at", "completed_at"}
FULL = COMPACT | {
    "user_id",
    "user_runner_id",
    "managed_runner_id",
    "workflow_json",
    "workflow_params",
    "prompt_id",
    "queue_number",
    "error_node",
    "exception_type",
    "exception_message",
}
OURS = {"node_errors", "template_id", "template_version"}
OF_ONE = [
    ("GET", "/v1/workflow/{id}"),
    ("POST", "/v1/workflow/{id}/cancel"),
    ("GET", "/v1/workflow/{id}/outputs"),
    ("DELETE", "/v1/workflow/{id}"),
    ("POST", "/v1/workflow/{id}/rerun"),
]


class TestCreating:
    async def test_the_documented_example(self, pool, client):
        pool.simulators[0].pause()
        fields = workflow_fields(save_graph(1), "Portrait", tags="") | {"tags": " , "}
        told = await call(client, "POST", "/v1/workflow", 201, fields=fields)
        assert set(told) == COMPACT
        assert UUID4.fullmatch(told["id"])
        assert TIME.fullmatch(told["created_at"])
        assert told["updated_at"] == told["created_at"]
        made = {name: told[name] for name in ("name", "status", "tags", "started_at", "completed_at")}
        assert made == {"name": "Portrait", "status": "accepted", "tags": [], "started_at": None, "completed_at": None}
        resume(pool)
        await until(client, told["id"], "completed")

    async def test_placeholders_are_filled_in_and_recorded(self, pool, client):
        workflow_id = await create(client, asking_graph(), **{"$prefix": "$random() ü"})
        told = await until(client, workflow_id, "completed")
        assert told["workflow_json"] == asking_graph()
        assert told["workflow_params"] == [["$text(prefix)", "$random() ü"]]
        run = (await client.history(told["prompt_id"]))["prompt"][2]
        assert run["3"]["inputs"]["filename_prefix"] == "$random() ü"
        assert type(run["2"]["inputs"]["seed"]) is int
        now = datetime.now(UTC)
        given = datetime.fromtimestamp(int(run["4"]["inputs"]["filename_prefix"]) / 1000, UTC)
        assert now - timedelta(minutes=1) < given <= now

    async def test_a_choice_is_a_field_with_a_hash(self, client):
        graph = save_graph(1) | {
            "5": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "#choice(model)"}}
        }
        chosen = {"#model": "v1-5-pruned-emaonly-fp16.safetensors"}
        told = await until(client, await create(client, graph, **chosen), "completed")
        assert told["workflow_params"] == [["#choice(model)", chosen["#model"]]]

    async def test_a_file_is_an_input(self, pool, client):
        picture = await _picture(pool, client)
        workflow_id = await create(client, loading_graph(), **{"$photo": ("my photo.PNG", picture)})
        told = await until(client, workflow_id, "completed")
        ((literal, path),) = told["workflow_params"]
        assert literal == "$file(photo)"
        assert path == f"workflows/{workflow_id}/photo.PNG"
        assert len(await outputs_of(client, workflow_id)) == 1

    async def test_the_graph_may_come_as_a_text_field(self, client):
        fields = {"name": "x", "workflow_json": json.dumps(save_graph(1))}
        told = await call(client, "POST", "/v1/workflow", 201, fields=fields)
        await until(client, told["id"], "completed")

    async def test_tags_are_those_of_a_runner(self, tmp_path):
        runners = {"tags": ["sdxl", "Portrait"]}
        async with v1_pool(tmp_path, 1, runners=runners) as pool, Client.connected(pool.base) as client:
            told = await until(client, await create(client, save_graph(1), tags="Portrait, sdxl,Portrait"), "completed")
            assert told["tags"] == ["Portrait", "sdxl"]
            told = await until(client, await create(client, save_graph(1), tags="portrait"), "invalid")
            assert told["exception_type"] == "no_runner_fits"
            assert "gpu-0" in told["exception_message"]
            assert "portrait" in told["exception_message"]

    async def test_without_any_runner_it_waits_for_one(self, tmp_path):
        async with v1_pool(tmp_path, 0) as pool, Client.connected(pool.base) as client:
            with capture_logs() as logs:
                workflow_id = await create(client, save_graph(1))
                await pool.until(lambda: any(each["event"] == "workflow.not_yet_submitted" for each in logs))
            assert (await seen(client, workflow_id))["status"] == "accepted"
            async with Simulator(SimulatorOptions(name="late", draw=False)) as simulator:
                await call(client, "POST", "/v1/runner", 201, json={"name": "late", "endpoint": simulator.url})
                await until(client, workflow_id, "completed")

    @pytest.mark.parametrize(
        "change, message",
        [
            ({"name": None}, "name is required"),
            ({"name": ""}, "name cannot be empty"),
            ({"name": "x" * 201}, "name is longer than 200 characters"),
            ({"name": ("name.txt", b"x")}, "name must be a text, not a file"),
            ({"workflow_json": None}, "workflow_json is required"),
            ({"workflow_json": ("w.json", b"{")}, "workflow_json is not valid JSON"),
            ({"workflow_json": ("w.json", b'{"1": "\\ud800"}')}, "workflow_json is not valid JSON"),
            ({"workflow_json": ("w.json", b"[" * 9_999)}, "workflow_json is not valid JSON"),
            ({"workflow_json": ("w.json", b'{"1":' * 500 + b"1" + b"}" * 500)}, "workflow_json is not valid JSON"),
            ({"workflow_json": ("w.json", b"[]")}, "workflow_json must be a JSON object"),
            ({"workflow_json": ("w.json", b"{}")}, "workflow_json has no nodes"),
            ({"workflow_json": ("w.json", b'{"nodes": [], "links": []}')}, "editor's format"),
            ({"$prefix": None}, "missing field $prefix: the workflow has $text(prefix)"),
            ({"$prefix": ("x.png", b"x")}, "field $prefix is a file; $text(prefix) needs a text"),
            ({"$other": "x"}, "unknown field $other"),
            ({"other": "x"}, "unknown field other"),
            ({"$file": ("x.png", b"x")}, "unknown field $file"),
            ({"tags": "x" * 65}, "tags.0 is longer than 64 characters"),
        ],
    )
    async def test_what_is_wrong_is_told(self, pool, client, change, message):
        fields = workflow_fields(asking_graph()) | {"$prefix": "x"} | change
        fields = {name: value for name, value in fields.items() if value is not None}
        assert message in await refusal(client, "POST", "/v1/workflow", 400, fields=fields)
        assert (await call(client, "GET", "/v1/workflow"))["total"] == 0
        assert pool.rooms.uploads.rows("input") == []

    async def test_a_body_that_is_no_form_is_refused(self, client):
        assert "multipart/form-data" in await refusal(client, "POST", "/v1/workflow", 400, json={"name": "x"})

    async def test_more_than_50_mb_is_refused(self, pool, client):
        fields = workflow_fields(loading_graph()) | {"$photo": ("x.png", bytes(50_000_001))}
        assert "50 MB" in await refusal(client, "POST", "/v1/workflow", 413, fields=fields)
        assert pool.rooms.uploads.rows("input") == []

    async def test_a_full_queue_is_told_before_anything_is_kept(self, tmp_path):
        config = {"queue": {"max_pending": 3}}
        async with v1_pool(tmp_path, 1, config=config) as pool, Client.connected(pool.base) as client:
            await fill(pool, client)
            workflow_id = await create(client, save_graph(1))
            await refusal(client, "POST", "/v1/workflow", 429, fields=workflow_fields(save_graph(2)))
            resume(pool)
            await until(client, workflow_id, "completed")
            assert (await call(client, "GET", "/v1/workflow"))["total"] == 1

    async def test_a_key_makes_it_once(self, pool, client):
        headers = {"Idempotency-Key": "order-7"}
        fields = workflow_fields(save_graph(1))
        first = await call(client, "POST", "/v1/workflow", 201, fields=fields, headers=headers)
        assert await call(client, "POST", "/v1/workflow", 201, fields=fields, headers=headers) == first
        await until(client, first["id"], "completed")
        await refusal(client, "POST", "/v1/workflow", 422, fields=fields | {"name": "other"}, headers=headers)
        assert len(pool.executed) == 1


class TestLooking:
    async def test_every_documented_field_is_there(self, pool, client):
        told = await until(client, await create(client, save_graph(1)), "completed")
        assert set(told) == FULL | OURS
        assert told["user_id"] == (await client.get("/v1/user"))["id"]
        (runner,) = pool.rooms.roster.entries()
        assert told["user_runner_id"] == str(runner.id)
        assert told["managed_runner_id"] is None
        assert told["prompt_id"] == told["id"]
        assert all(TIME.fullmatch(told[name]) for name in ("updated_at", "started_at", "completed_at"))
        assert told["updated_at"] == told["completed_at"]
        assert [told[name] for name in ("queue_number", "error_node", "exception_type", "node_errors")] == [None] * 4

    async def test_a_queued_one_has_its_place(self, pool, client):
        busy = await fill(pool, client)
        workflow_id = await create(client, save_graph(1))
        told = await until(client, workflow_id, "queued")
        assert told["queue_number"] == len(busy)  # one of them runs
        assert (told["user_runner_id"], told["started_at"], told["prompt_id"]) == (None, None, workflow_id)
        await client.post("/queue", {"delete": [busy[-1]]})
        assert (await until(client, workflow_id, "queued"))["queue_number"] == len(busy) - 1
        resume(pool)
        await until(client, workflow_id, "completed")

    async def test_a_running_one_has_begun(self, pool, client):
        pool.simulators[0].pause(after=1)
        told = await until(client, await create(client, save_graph(1)), "running")
        assert TIME.fullmatch(told["started_at"])
        assert (told["completed_at"], told["queue_number"]) == (None, None)

    async def test_a_failed_one_says_where_and_why(self, client):
        told = await until(client, await create(client, save_graph(1, steps=4, fail_at=2)), "failed")
        assert told["error_node"] == "2"
        assert told["exception_type"]
        assert "told to fail" in told["exception_message"]
        assert TIME.fullmatch(told["completed_at"])

    async def test_an_invalid_one_has_the_runners_node_errors(self, pool, client):
        told = await until(client, await create(client, INVALID), "invalid")
        assert list(told["node_errors"]) == ["1"]
        assert told["node_errors"]["1"]["errors"][0]["type"] == "required_input_missing"
        assert told["error_node"] == "1"
        assert told["exception_type"] == "prompt_outputs_failed_validation"
        assert told["exception_message"]
        assert (told["prompt_id"], told["started_at"], told["user_runner_id"]) == (None, None, None)
        assert pool.executed == []

    async def test_the_list_is_in_pages_newest_first(self, client):
        ids = [await create(client, save_graph(seed), f"run {seed}") for seed in range(12)]
        for workflow_id in ids:
            await until(client, workflow_id, "completed")
        first = await call(client, "GET", "/v1/workflow")
        assert (first["total"], [each["id"] for each in first["workflows"]]) == (12, ids[:1:-1])
        assert set(first["workflows"][0]) == COMPACT
        second = await call(client, "GET", "/v1/workflow?page=3&per_page=5")
        assert (second["total"], [each["name"] for each in second["workflows"]]) == (12, ["run 1", "run 0"])

    async def test_the_list_by_status(self, pool, client):
        done = await create(client, save_graph(1))
        await until(client, done, "completed")
        failed = await create(client, save_graph(2, fail_at=1))
        await until(client, failed, "failed")
        invalid = await create(client, INVALID)
        await until(client, invalid, "invalid")
        pool.simulators[0].pause()
        running, queued, cancelled = [await create(client, save_graph(seed)) for seed in (3, 4, 5)]
        await until(client, running, "running")
        await until(client, queued, "queued")
        await until(client, cancelled, "queued")
        await call(client, "POST", f"/v1/workflow/{cancelled}/cancel")
        wanted = {
            "completed": done,
            "failed": failed,
            "invalid": invalid,
            "running": running,
            "queued": queued,
            "cancelled": cancelled,
        }
        for status, workflow_id in wanted.items():
            listed = await call(client, "GET", f"/v1/workflow?status={status}")
            assert [each["id"] for each in listed["workflows"]] == [workflow_id]
            assert (listed["total"], listed["workflows"][0]["status"]) == (1, status)
        resume(pool)

    @pytest.mark.parametrize("query", ["page=0", "per_page=0", "per_page=101", "page=x", "status=done"])
    async def test_a_query_out_of_range_is_refused(self, client, query):
        assert query.split("=")[0] in await refusal(client, "GET", f"/v1/workflow?{query}", 400)

    @pytest.mark.parametrize("method, path", OF_ONE)
    async def test_one_that_is_not_there_is_404(self, client, method, path):
        assert await refusal(client, method, path.format(id=NOWHERE), 404) == "requested entity not found"

    @pytest.mark.parametrize("method, path", OF_ONE)
    async def test_what_is_no_id_is_400(self, client, method, path):
        assert "UUID" in await refusal(client, method, path.format(id="7"), 400)


class TestCancelling:
    async def test_a_queued_one(self, pool, client):
        await fill(pool, client)
        workflow_id = await create(client, save_graph(1))
        await until(client, workflow_id, "queued")
        assert await call(client, "POST", f"/v1/workflow/{workflow_id}/cancel") is None
        told = await until(client, workflow_id, "cancelled")
        assert TIME.fullmatch(told["completed_at"])
        resume(pool)

    async def test_a_running_one(self, pool, client):
        pool.simulators[0].pause()
        workflow_id = await create(client, save_graph(1))
        await until(client, workflow_id, "running")
        await call(client, "POST", f"/v1/workflow/{workflow_id}/cancel")
        await until(client, workflow_id, "cancelled")
        assert pool.executed == []

    async def test_one_whose_runner_cannot_be_reached_is_cancelled_when_it_can(self, pool, client):
        (simulator,) = pool.simulators
        simulator.pause()
        workflow_id = await create(client, save_graph(1))
        await until(client, workflow_id, "running")
        await simulator.refuse()
        await call(client, "POST", f"/v1/workflow/{workflow_id}/cancel")
        await simulator.accept()
        await until(client, workflow_id, "cancelled")

    @pytest.mark.parametrize("graph, status", [(save_graph(1), "completed"), (INVALID, "invalid")])
    async def test_one_that_has_ended_is_400(self, client, graph, status):
        workflow_id = await create(client, graph)
        await until(client, workflow_id, status)
        message = await refusal(client, "POST", f"/v1/workflow/{workflow_id}/cancel", 400)
        assert message == "the workflow has ended already"

    async def test_one_that_is_not_queued_yet_is_400(self, pool, client):
        (simulator,) = pool.simulators
        simulator.state.faults.hang = True
        workflow_id = await create(client, save_graph(1))
        assert (await seen(client, workflow_id))["status"] in ("accepted", "uploaded")
        message = await refusal(client, "POST", f"/v1/workflow/{workflow_id}/cancel", 400)
        assert message == "the workflow is not queued yet"
        simulator.state.faults.hang = False
        await until(client, workflow_id, "completed")


class TestDeleting:
    async def test_one_that_has_ended(self, client):
        workflow_id = await create(client, save_graph(1))
        await until(client, workflow_id, "completed")
        assert await call(client, "DELETE", f"/v1/workflow/{workflow_id}") is None
        await call(client, "GET", f"/v1/workflow/{workflow_id}", 404)
        await call(client, "DELETE", f"/v1/workflow/{workflow_id}", 404)
        assert (await call(client, "GET", "/v1/workflow"))["total"] == 0
        assert await client.get("/history") == {}

    async def test_one_that_runs_is_cancelled(self, pool, client):
        pool.simulators[0].pause()
        workflow_id = await create(client, save_graph(1))
        await until(client, workflow_id, "running")
        await call(client, "DELETE", f"/v1/workflow/{workflow_id}")
        await call(client, "GET", f"/v1/workflow/{workflow_id}", 404)
        await pool.until(lambda: pool.rooms.jobs.registry.taken == 0)
        assert pool.executed == []


async def _picture(pool, client):
    workflow_id = await create(client, save_graph(9, prefix="source"))
    await until(client, workflow_id, "completed")
    (picture,) = await outputs_of(client, workflow_id)
    return picture
