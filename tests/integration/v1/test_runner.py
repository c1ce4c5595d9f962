"""``/v1/runner``: every call of the specification, its example and its errors; what becomes of runners through reloads
and restarts."""

import asyncio
import json
import re
import socket
import time
import uuid
from datetime import UTC, datetime

import aiohttp
import pytest
from sqlalchemy import text
from support.client import Client
from support.graphs import save_graph
from support.pools import gateway_over
from support.v1 import UUID4

from gateway.config import RunnerConfig
from gateway.simulator import Simulator, SimulatorOptions
from gateway.storage.writer import Operation

from .conftest import Api, gateway_api

HOSTED = ["id", "user_id", "name", "status", "endpoint", "tags", "headers", "created_at", "updated_at"]
MASK = "********"
NOWHERE = str(uuid.uuid4())


def example(endpoint):
    return {
        "name": "My GPU server",
        "endpoint": endpoint,
        "headers": {"Authorization": "Bearer secret-of-the-runner"},
        "tags": ["sdxl", "GPU-A100"],
    }


def unused_url():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


async def up(api, runner):
    """The runner as it is once it is up."""
    await api.pool.until(lambda: api.pool.rooms.pool.get(runner["key"]).is_ready)
    return await api.get(f"/v1/runner/{runner['id']}")


# create


async def test_created_it_has_the_documented_fields_and_is_active(api, spare):
    before = datetime.now(UTC).replace(microsecond=0)
    runner = await api.post("/v1/runner", example(spare.url), 201)
    assert list(runner)[: len(HOSTED)] == HOSTED
    assert UUID4.fullmatch(runner["id"])
    assert runner["user_id"] == (await api.get("/v1/user"))["id"]
    assert runner["status"] == "active"
    assert runner["source"] == "api"
    assert {name: runner[name] for name in ("name", "endpoint", "tags")} == {
        "name": "My GPU server",
        "endpoint": spare.url,
        "tags": ["sdxl", "GPU-A100"],
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", runner["created_at"])
    assert before <= datetime.fromisoformat(runner["created_at"]) <= datetime.now(UTC)
    assert runner["created_at"] == runner["updated_at"]
    assert await api.get(f"/v1/runner/{runner['id']}") | {"health": None} == runner | {"health": None}


async def test_it_takes_work_within_a_second(api, spare):
    api.pool.rooms.fleet.disable("gpu-0")
    async with Client.connected(api.base) as client:
        began = time.monotonic()
        runner = await api.post("/v1/runner", {"name": "spare", "endpoint": spare.url}, 201)
        await api.pool.until(lambda: api.pool.rooms.pool.get("spare").takes_work)
        job = await client.submit(save_graph(1))
        assert time.monotonic() - began < 1
        await client.hear_end(job)
    assert spare.executed
    assert runner["key"] == "spare"
    assert (await up(api, runner))["health"]["up"]


async def test_one_that_cannot_be_reached_is_created_and_down_with_the_reason(api):
    runner = await api.post("/v1/runner", {"name": "gone", "endpoint": unused_url()}, 201)
    assert not runner["health"]["up"]
    await api.pool.until(lambda: "connect" in api.pool.rooms.pool.get("gone").health.reason.lower())
    shown = await api.get(f"/v1/runner/{runner['id']}")
    assert shown["status"] == "active"
    assert not shown["health"]["up"]
    assert "onnect" in shown["health"]["reason"]


async def test_where_it_may_be_is_judged_when_it_connects_too(tmp_path, spare):
    denied = {"endpoints": {"runner": {"deny": ["loopback"]}}}
    async with gateway_api(tmp_path, config=denied) as api:
        assert "denies" in await api.post("/v1/runner", {"name": "a", "endpoint": spare.url}, 400)
        by_name = spare.url.replace("127.0.0.1", "localhost")
        runner = await api.post("/v1/runner", {"name": "a", "endpoint": by_name}, 201)
        await api.pool.until(lambda: "denied" in api.pool.rooms.pool.get("a").health.reason)
        assert not (await api.get(f"/v1/runner/{runner['id']}"))["health"]["up"]
        assert api.pool.rooms.pool.get("gpu-0").is_ready  # what the file names is trusted


async def test_headers_and_tags_may_be_left_out_or_empty(api, spare):
    bare = await api.post("/v1/runner", {"name": "a", "endpoint": spare.url}, 201)
    empty = await api.post("/v1/runner", {"name": "b", "endpoint": spare.url, "headers": {}, "tags": []}, 201)
    assert (bare["headers"], bare["tags"]) == ({}, [])
    assert (empty["headers"], empty["tags"]) == ({}, [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "name cannot be empty"),
        ({"name": "   "}, "name cannot be empty"),
        ({"name": None}, "name must be a string"),
        ({"name": 7}, "name must be a string"),
        ({"name": "x" * 101}, "name is longer than 100 characters"),
        ({"name": ...}, "name is required"),
        ({"endpoint": ...}, "endpoint is required"),
        ({"endpoint": "ftp://gpu"}, "endpoint must start with http:// or https://"),
        ({"endpoint": "gpu"}, "endpoint must start with http:// or https://"),
        ({"endpoint": "http://user:password@gpu"}, "endpoint must not contain a user or a password"),
        ({"endpoint": "http://169.254.169.254"}, "endpoint names an address that the configuration denies (endpoints)"),
        ({"tags": [f"tag{number}" for number in range(11)]}, "tags has more than 10 items"),
        ({"tags": "sdxl"}, "tags must be an array"),
        ({"tags": [7]}, "tags.0 must be a string"),
        ({"headers": ["Authorization"]}, "headers must be an object"),
        ({"headers": {"Authorization": 7}}, "headers.Authorization must be a string"),
        ({"headers": {"X": "a\nb"}}, "headers.X must not contain line breaks or control characters"),
        ({"headers": {"Host": "x", "a b": "c"}}, "headers.a b is not a valid header name"),
        ({"headers": {"Content-Length": "7"}}, "headers.Content-Length is a header that the gateway sets itself"),
        ({"headers": {"X": MASK}}, "headers.X needs a value"),
    ],
)
async def test_what_is_wrong_with_it_is_told(api, change, message):
    body = {name: value for name, value in {**example("http://10.0.0.1"), **change}.items() if value is not ...}
    assert (await api.post("/v1/runner", body, 400)).startswith(message)
    assert (await api.get("/v1/runner"))["total"] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "the body must be JSON"), (b"{", "the body is not valid JSON"), (b"[]", "the body must be an object")],
)
async def test_a_body_that_is_no_object_is_refused(api, content, message):
    async with api.http.post(api.base + "/v1/runner", data=content) as answer:
        assert (answer.status, await answer.json()) == (400, {"status": 400, "message": message})


async def test_past_the_limit_of_runners_it_is_forbidden(tmp_path):
    async with gateway_api(tmp_path, v1={"max_runners": 1}) as api:
        await api.post("/v1/runner", {"name": "a", "endpoint": unused_url()}, 201)
        message = await api.post("/v1/runner", {"name": "b", "endpoint": unused_url()}, 403)
        assert message == "Runner limit exceeded for your tier"


async def test_names_may_be_anything_and_the_key_is_drawn_from_them(api):
    keys = []
    for name in ("gpu-7", "gpu-7", "gpu-0", "Mein Rechner (2)", "東京"):
        runner = await api.post("/v1/runner", {"name": name, "endpoint": unused_url()}, 201)
        assert runner["name"] == name
        keys.append(runner["key"].removesuffix("-" + runner["id"][:8]))
        assert len(keys) == 1 or runner["key"].endswith(runner["id"][:8])
    assert keys == ["gpu-7", "gpu-7", "gpu-0", "Mein-Rechner-2", "runner"]


# list and get


async def test_the_list_is_newest_first_in_pages_and_by_status(tmp_path):
    async with gateway_api(tmp_path, 2) as api:
        made = [await api.post("/v1/runner", {"name": f"r{n}", "endpoint": unused_url()}, 201) for n in range(11)]
        await api.put(f"/v1/runner/{made[3]['id']}", {"status": "disabled"})
        first = await api.get("/v1/runner")
        second = await api.get("/v1/runner", page=2)
        assert (first["total"], len(first["runners"]), len(second["runners"])) == (13, 10, 3)
        listed = [runner["name"] for runner in (*first["runners"], *second["runners"])]
        assert set(listed) == {f"r{n}" for n in range(11)} | {"gpu-0", "gpu-1"}
        created = [runner["created_at"] for runner in (*first["runners"], *second["runners"])]
        assert created == sorted(created, reverse=True)
        disabled = await api.get("/v1/runner", status="disabled")
        assert ([runner["name"] for runner in disabled["runners"]], disabled["total"]) == (["r3"], 1)
        assert (await api.get("/v1/runner", status="active", per_page=100))["total"] == 12
        assert (await api.get("/v1/runner", page=9)) == {"runners": [], "total": 13}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"page": 0}, "page must be greater than or equal to 1"),
        ({"page": "x"}, "page must be a whole number"),
        ({"per_page": 0}, "per_page must be greater than or equal to 1"),
        ({"per_page": 101}, "per_page must be less than or equal to 100"),
        ({"status": "drain"}, "status must be 'active' or 'disabled'"),
    ],
)
async def test_a_query_out_of_range_is_400(api, query, message):
    assert (await api.get("/v1/runner", 400, **query)) == message


@pytest.mark.parametrize(
    ("method", "more"),
    [("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/interrupt"), ("POST", "/drain"), ("GET", "/history")],
)
async def test_an_unknown_runner_is_404_and_a_bad_id_400(api, method, more):
    body = {} if method == "PUT" else None
    assert await api.call(method, f"/v1/runner/{NOWHERE}{more}", 404, body=body) == "requested entity not found"
    assert await api.call(method, f"/v1/runner/seven{more}", 400, body=body) == "runner_id is not a valid UUID"


# headers


async def test_header_values_go_to_the_runner_and_are_masked_on_read(api, spare):
    runner = await api.post("/v1/runner", example(spare.url), 201)
    assert runner["headers"] == {"Authorization": MASK}
    config = (await up(api, runner)) and api.pool.rooms.pool.get(runner["key"]).config
    assert config.plain_headers() == {"Authorization": "Bearer secret-of-the-runner"}


async def test_they_are_not_to_be_read_in_the_database(api, spare, tmp_path):
    await api.post("/v1/runner", example(spare.url), 201)
    await api.pool.rooms.db.flushed()
    for file in tmp_path.glob("gateway.db*"):
        assert b"secret-of-the-runner" not in file.read_bytes()


async def test_a_switch_shows_them_as_the_hosted_service_does(tmp_path, spare):
    async with gateway_api(tmp_path, v1={"show_headers": True}) as api:
        runner = await api.post("/v1/runner", example(spare.url), 201)
        assert runner["headers"] == {"Authorization": "Bearer secret-of-the-runner"}


async def test_sent_back_as_they_were_read_they_keep_their_values(api, spare):
    runner = await api.post("/v1/runner", example(spare.url), 201)
    changed = await api.put(f"/v1/runner/{runner['id']}", {**runner, "name": "renamed"})
    assert changed["name"] == "renamed"
    config = api.pool.rooms.pool.get(runner["key"]).config
    assert config.plain_headers() == {"Authorization": "Bearer secret-of-the-runner"}
    refusal = await api.put(f"/v1/runner/{runner['id']}", {"headers": {"X-New": MASK}}, 400)
    assert refusal == "headers.X-New needs a value"


async def test_with_another_host_their_values_have_to_be_sent(api, spare):
    runner = await api.post("/v1/runner", example(spare.url), 201)
    path, elsewhere = f"/v1/runner/{runner['id']}", unused_url()
    for body in ({"endpoint": elsewhere}, {"endpoint": elsewhere, "headers": runner["headers"]}):
        refusal = await api.put(path, body, 400)
        assert refusal == "endpoint is another server: send the values of its headers too, or {} for none"
    assert (await api.put(path, {"endpoint": spare.url + "/prefix"}))["endpoint"] == spare.url + "/prefix"
    assert (await api.put(path, {"endpoint": elsewhere, "headers": {}}))["headers"] == {}


# update


async def test_any_field_can_be_changed_by_itself(api, spare):
    runner = await api.post("/v1/runner", {"name": "a", "endpoint": spare.url}, 201)
    path = f"/v1/runner/{runner['id']}"
    for change in ({"name": "b"}, {"tags": ["x", "y"]}, {"tags": []}, {"status": "disabled"}, {"status": "active"}):
        changed = await api.put(path, change)
        assert {name: changed[name] for name in change} == change
    assert (await api.put(path, {"headers": {"X-Key": "value"}}))["headers"] == {"X-Key": MASK}
    before = await api.get(path)
    assert (await api.put(path, {})) | {"health": None} == before | {"health": None}
    assert (before["id"], before["key"], before["name"]) == (runner["id"], "a", "b")


async def test_another_endpoint_is_where_its_next_jobs_run(api, spare):
    async with Simulator(SimulatorOptions(name="other", draw=False)) as other:
        api.pool.rooms.fleet.disable("gpu-0")
        runner = await api.post("/v1/runner", {"name": "a", "endpoint": spare.url}, 201)
        await up(api, runner)
        await api.put(f"/v1/runner/{runner['id']}", {"endpoint": other.url})
        await up(api, runner)
        async with Client.connected(api.base) as client:
            await client.hear_end(await client.submit(save_graph(1)))
        assert (len(spare.executed), len(other.executed)) == (0, 1)


async def test_disabled_it_gets_no_work_until_it_is_active_again(api):
    runner = (await api.get("/v1/runner"))["runners"][0]
    path = f"/v1/runner/{runner['id']}"
    assert (await api.put(path, {"status": "disabled"}))["status"] == "disabled"
    async with Client.connected(api.base) as client:
        assert (await client.post("/prompt", {"prompt": save_graph(1)}))[0] == 503
        await api.put(path, {"status": "active"})
        await client.hear_end(await client.submit(save_graph(1)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": "gone"}, "status must be 'active' or 'disabled'"),
        ({"name": ""}, "name cannot be empty"),
        ({"endpoint": "gpu"}, "endpoint must start with http:// or https://"),
        ({"endpoint": "http://169.254.169.254"}, "endpoint names an address that the configuration denies (endpoints)"),
        ({"tags": ["a b"]}, "tags.0 must be 1 to 64 characters without spaces"),
        ({"headers": "none"}, "headers must be an object"),
        ({"headers": {"X": "a", "x": "b"}}, "headers has a header twice"),
    ],
)
async def test_a_wrong_change_changes_nothing(api, spare, change, message):
    runner = await api.post("/v1/runner", {"name": "a", "endpoint": spare.url}, 201)
    path = f"/v1/runner/{runner['id']}"
    assert (await api.put(path, {"name": "b", **change}, 400)).startswith(message)
    assert (await api.get(path))["name"] == "a"


# the configuration's


async def test_of_the_configurations_runners_only_the_status_can_be_changed(api):
    runner = (await api.get("/v1/runner"))["runners"][0]
    path = f"/v1/runner/{runner['id']}"
    assert (runner["name"], runner["key"], runner["source"]) == ("gpu-0", "gpu-0", "config")
    for change in ({"name": "x"}, {"tags": ["x"]}, {"headers": {"X": "y"}}, {"endpoint": "http://10.0.0.1"}):
        assert "only its status" in await api.put(path, change, 403)
    assert "only its status" in await api.delete(path, 403)
    changed = await api.put(path, {**runner, "status": "disabled"})
    assert changed["status"] == "disabled"
    assert (await api.put(path, {**changed, "status": "active"}))["status"] == "active"


async def test_a_status_given_over_the_api_survives_a_restart_until_the_configuration_says_another(tmp_path, spare):
    async def shown(change_to=None, configured="active"):
        async with (
            gateway_over(tmp_path, [spare], runners={"status": configured}) as pool,
            aiohttp.ClientSession() as http,
        ):
            api = Api(pool.base, http)
            runner = (await api.get("/v1/runner"))["runners"][0]
            if change_to is not None:
                await api.put(f"/v1/runner/{runner['id']}", {"status": change_to})
            return runner["id"], runner["status"], runner["created_at"]

    first = await shown("disabled")
    assert first[1] == "active"
    assert await shown() == (first[0], "disabled", first[2])
    assert (await shown(configured="disabled"))[1] == "disabled"  # a change of the file, to what it is
    assert (await shown())[1] == "active"  # and another: the file counts


async def test_a_reload_keeps_statuses_and_runners_of_the_api(tmp_path, spare):
    async with gateway_api(tmp_path, 2) as api:
        runners = {runner["key"]: runner for runner in (await api.get("/v1/runner"))["runners"]}
        made = await api.post("/v1/runner", {"name": "spare", "endpoint": spare.url}, 201)
        await up(api, made)
        await api.put(f"/v1/runner/{runners['gpu-0']['id']}", {"status": "disabled"})
        configured = api.pool.config.runners
        tagged = configured[0].model_copy(update={"tags": ("new",)})
        await api.pool.rooms.roster.apply([tagged])
        await api.pool.until(lambda: api.pool.rooms.pool.get("gpu-1") is None)
        left = {runner["key"]: runner for runner in (await api.get("/v1/runner"))["runners"]}
        assert left.keys() == {"gpu-0", "spare"}
        assert (left["gpu-0"]["status"], left["gpu-0"]["tags"]) == ("disabled", ["new"])
        assert left["spare"]["health"]["up"]
        await api.pool.rooms.roster.apply([tagged.model_copy(update={"status": "drain"})])
        await api.pool.rooms.roster.apply([tagged])
        assert (await api.get(f"/v1/runner/{runners['gpu-0']['id']}"))["status"] == "active"


async def test_the_configuration_takes_over_a_runner_of_the_api_by_its_key(api, spare):
    made = await api.post("/v1/runner", {"name": "spare", "endpoint": spare.url}, 201)
    await up(api, made)
    link = api.pool.rooms.pool.get("spare").link
    await api.pool.rooms.roster.apply([*api.pool.config.runners, RunnerConfig(name="spare", endpoint=spare.url)])
    assert api.pool.rooms.pool.get("spare").link is link
    runner = next(each for each in (await api.get("/v1/runner"))["runners"] if each["key"] == "spare")
    assert runner["source"] == "config"
    assert runner["id"] != made["id"]
    await api.get(f"/v1/runner/{made['id']}", 404)


async def test_runners_of_the_api_are_there_after_a_restart_and_their_jobs_too(tmp_path, spare):
    async with gateway_over(tmp_path, []) as pool, aiohttp.ClientSession() as http:
        api = Api(pool.base, http)
        api.pool = pool
        made = await api.post("/v1/runner", example(spare.url), 201)
        await up(api, made)
        spare.pause()
        async with Client.connected(pool.base) as client:
            job = await client.submit(save_graph(1))
            await spare.held()
    async with gateway_over(tmp_path, []) as pool, aiohttp.ClientSession() as http:
        api = Api(pool.base, http)
        again = await api.get(f"/v1/runner/{made['id']}")
        assert again | {"health": None} == made | {"health": None}
        runner = pool.rooms.pool.get(made["key"])
        assert runner.config.plain_headers() == {"Authorization": "Bearer secret-of-the-runner"}
        spare.resume()
        async with Client.connected(pool.base) as client:
            await pool.until(lambda: pool.rooms.jobs.registry.get(job) is None)
            assert (await client.history(job))["status"]["completed"]
    assert len(spare.executed) == 1


async def test_with_another_key_a_runner_is_there_without_its_headers(tmp_path, spare):
    for headers in ({"Authorization": "********"}, {}):
        async with gateway_over(tmp_path, []) as pool, aiohttp.ClientSession() as http:
            api = Api(pool.base, http)
            if headers:
                await api.post("/v1/runner", example(spare.url), 201)
            assert (await api.get("/v1/runner"))["runners"][0]["headers"] == headers
        (tmp_path / "gateway.key").write_bytes(bytes(32))


# delete, drain, interrupt


async def test_deleted_it_finishes_its_job_and_leaves(api, spare):
    runner = await api.post("/v1/runner", {"name": "spare", "endpoint": spare.url}, 201)
    await up(api, runner)
    api.pool.rooms.fleet.disable("gpu-0")
    spare.pause()
    async with Client.connected(api.base) as client:
        job = await client.submit(save_graph(1))
        await spare.held()
        assert await api.delete(f"/v1/runner/{runner['id']}") is None
        await api.get(f"/v1/runner/{runner['id']}", 404)
        assert (await api.get("/v1/runner"))["total"] == 1
        again = await api.post("/v1/runner", {"name": "spare", "endpoint": unused_url()}, 201)
        assert again["key"] != "spare"
        spare.resume()
        await client.hear_end(job)
        await api.pool.until(lambda: api.pool.rooms.pool.get("spare") is None)
        assert len(await client.files(job)) == 1


async def test_drained_its_job_moves_to_another_and_it_is_shown_as_disabled(api, spare):
    runner = await api.post("/v1/runner", {"name": "spare", "endpoint": spare.url}, 201)
    await up(api, runner)
    api.pool.rooms.fleet.disable("gpu-0")
    spare.pause()
    async with Client.connected(api.base) as client:
        job = await client.submit(save_graph(1))
        await spare.held()
        api.pool.rooms.fleet.enable("gpu-0")
        drained = await api.post(f"/v1/runner/{runner['id']}/drain?seconds=0")
        assert drained["status"] == "disabled"
        await client.hear_end(job)
    assert api.pool.simulators[0].executed
    assert (await api.put(f"/v1/runner/{runner['id']}", drained))["status"] == "disabled"
    assert api.pool.rooms.pool.get("spare").config.status == "drain"
    assert (await api.put(f"/v1/runner/{runner['id']}", {"status": "active"}))["status"] == "active"


async def test_interrupted_it_stops_what_it_runs(api):
    runner = (await api.get("/v1/runner"))["runners"][0]
    simulator = api.pool.simulators[0]
    simulator.pause()
    async with Client.connected(api.base) as client:
        job = await client.submit(save_graph(1))
        await simulator.held()
        assert await api.post(f"/v1/runner/{runner['id']}/interrupt") is None
        assert api.last.headers["Content-Length"] == "0"
        simulator.resume()
        await client.hear_until("execution_interrupted", prompt_id=job)


async def test_interrupting_one_that_is_idle_is_fine(api):
    runner = (await api.get("/v1/runner"))["runners"][0]
    assert await api.post(f"/v1/runner/{runner['id']}/interrupt") is None


async def test_interrupting_one_that_cannot_be_reached_is_500(api):
    runner = await api.post("/v1/runner", {"name": "gone", "endpoint": unused_url()}, 201)
    assert "runner gone did not answer" in await api.post(f"/v1/runner/{runner['id']}/interrupt", None, 500)


# history


async def test_its_history_is_the_newest_workflows_that_it_was_given(tmp_path):
    async with gateway_api(tmp_path, 2) as api:
        runners = {each["key"]: f"/v1/runner/{each['id']}" for each in (await api.get("/v1/runner"))["runners"]}
        await api.put(runners["gpu-1"], {"status": "disabled"})
        made = []
        for number in range(12):
            form = aiohttp.FormData({"name": f"w{number}"})
            form.add_field("workflow_json", json.dumps(save_graph(number)), filename="graph.json")
            made.append(await api.call("POST", "/v1/workflow", 201, data=form))
        async with asyncio.timeout(20):
            while (await api.get("/v1/workflow", status="completed"))["total"] < 12:
                await asyncio.sleep(0.01)
        history = await api.get(runners["gpu-0"] + "/history")
        assert [workflow["name"] for workflow in history] == [f"w{number}" for number in range(11, 1, -1)]
        assert history[0].keys() == made[0].keys()
        assert len(await api.get(runners["gpu-0"] + "/history", limit=100)) == 12
        assert await api.get(runners["gpu-1"] + "/history") == []
        await api.get(runners["gpu-0"] + "/history", 400, limit=101)


# idempotency


async def test_the_same_create_sent_again_makes_one_runner(api, spare):
    key = {"Idempotency-Key": "make-the-spare"}
    first = await api.post("/v1/runner", example(spare.url), 201, headers=key)
    assert "Idempotency-Replayed" not in api.last.headers
    reordered = dict(reversed(example(spare.url).items()))
    assert (await api.post("/v1/runner", reordered, 201, headers=key)) == first
    assert api.last.headers["Idempotency-Replayed"] == "true"
    assert "another request" in await api.post("/v1/runner", {**reordered, "name": "x"}, 422, headers=key)
    assert (await api.get("/v1/runner"))["total"] == 2


async def test_a_refused_create_may_be_mended_under_its_key(api, spare):
    key = {"Idempotency-Key": "k"}
    await api.post("/v1/runner", {"name": "", "endpoint": spare.url}, 400, headers=key)
    await api.post("/v1/runner", {"name": "a", "endpoint": spare.url}, 201, headers=key)


async def test_what_python_cannot_serialise_at_once_has_a_fingerprint_too(api, spare):
    body = {"name": "a", "endpoint": spare.url, "more": [10**30, 1e308]}
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json; charset=none-such"}
    first = await api.post("/v1/runner", body, 201, headers=headers)
    assert await api.post("/v1/runner", body, 201, headers=headers) == first


async def test_a_key_that_is_none_is_400(api, spare):
    key = {"Idempotency-Key": "a b"}
    assert "Idempotency-Key" in await api.post("/v1/runner", example(spare.url), 400, headers=key)


async def test_a_run_that_was_cut_off_is_taken_up_under_its_id(api, spare):
    """As after a crash between the making and the answer: the row of the key has no answer."""
    key = {"Idempotency-Key": "k"}
    first = await api.post("/v1/runner", {"name": "a", "endpoint": spare.url}, 201, headers=key)
    await api.pool.rooms.db.write(Operation(text("update idempotency_keys set status = null, answer = null")))
    again = await api.post("/v1/runner", {"name": "a", "endpoint": spare.url}, 201, headers=key)
    assert again["id"] == first["id"]
    assert (await api.get("/v1/runner"))["total"] == 2


# at once


async def test_a_change_that_waits_for_a_runner_holds_up_no_other_and_the_last_word_counts(tmp_path, spare):
    async with gateway_api(tmp_path, 2) as api, Client.connected(api.base) as client:
        runners = {each["key"]: f"/v1/runner/{each['id']}" for each in (await api.get("/v1/runner"))["runners"]}
        made = await api.post("/v1/runner", {"name": "spare", "endpoint": spare.url}, 201)
        await up(api, made)
        for path in runners.values():
            await api.put(path, {"status": "disabled"})
        spare.faults.update({"path": "/prompt", "hang": True})
        posting = asyncio.create_task(client.submit(save_graph(1)))
        await api.pool.until(lambda: api.pool.rooms.jobs.registry.attempts_on("spare"))
        path = f"/v1/runner/{made['id']}"
        moving = asyncio.create_task(api.put(path, {"headers": {"X-Key": "value"}}))
        await api.pool.until(lambda: api.pool.rooms.pool.get("spare").config.status == "disabled")
        assert (await api.put(runners["gpu-0"], {"status": "active"}))["status"] == "active"
        last = asyncio.create_task(api.put(path, {"tags": ["last"]}))
        await api.pool.until(lambda: api.pool.rooms.roster.get(uuid.UUID(made["id"])).config.tags == ("last",))
        spare.faults.clear()
        await asyncio.gather(moving, last, posting)
        config = api.pool.rooms.pool.get("spare").config
        assert (config.tags, config.status) == (("last",), "active")
        assert config.plain_headers() == {"X-Key": "value"}
