"""What the gateway does not know reaches the right runner, as it came, in bounded memory."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp
import aiohttp.web
import pytest
from support.browsers import browser
from support.busy import hear_ends
from support.client import Client
from support.graphs import save_graph
from support.nodes import CHUNK, ROUTES, answering, chunks
from support.pools import running_pool
from yarl import URL

from gateway.jobs.states import JobState

MEBIBYTE = 1024 * 1024
HUGE = 200 * MEBIBYTE
GROWTH_MOST = 48 * MEBIBYTE  # of this process, which is client, gateway and runner in one


@pytest.fixture
async def pool(tmp_path):
    each = [{"extra_routes": [*ROUTES, *answering({}, name=f"gpu-{number}")]} for number in range(2)]
    config = {"server": {"port": 0, "max_upload_size": HUGE + MEBIBYTE}}
    async with running_pool(tmp_path, 2, options=each, config=config) as pool:
        yield pool


@pytest.fixture
async def client(pool):
    async with Client.connected(pool.base) as client:
        yield client


async def name(client, **query):
    """Which runner answers."""
    return await client.get("/tn/name", **query)


async def gone(pool, name):
    await pool.simulator(name).die()
    await pool.until(lambda: pool.rooms.pool.primary.name != name)


# to which runner


async def test_a_browser_stays_with_its_runner(pool):
    async with browser(pool.base) as first:
        assert await name(first) == "gpu-0"
        await gone(pool, "gpu-0")
        assert await name(first) == "gpu-1"
        await pool.simulator("gpu-0").restart()
        await pool.until(lambda: pool.rooms.pool.primary.name == "gpu-0")
        assert await name(first) == "gpu-1"
        async with browser(pool.base) as second:
            assert await name(second) == "gpu-0"


async def test_templates_come_from_the_runner_of_the_browser(tmp_path):
    def listing(name):
        async def told(request):
            return aiohttp.web.json_response({"runner": name, "path": request.path})

        return aiohttp.web.get("/templates/{file:.*}", told)

    each = [{"extra_routes": [listing(f"gpu-{number}")]} for number in range(2)]
    async with running_pool(tmp_path, 2, options=each) as pool, browser(pool.base) as client:
        for file in ("index.de.json", "default.json"):
            path = f"/templates/{file}"
            assert await client.get(path) == {"runner": "gpu-0", "path": path}
        await gone(pool, "gpu-0")
        assert (await client.get("/templates/default.json"))["runner"] == "gpu-1"


async def test_without_a_cookie_the_primary_answers(pool, client):
    assert await name(client) == "gpu-0"
    await gone(pool, "gpu-0")
    assert await name(client) == "gpu-1"


async def test_the_runner_that_executes_a_job_of_the_client_answers(pool):
    for simulator in pool.simulators:
        simulator.pause()
    async with browser(pool.base) as other, browser(pool.base) as first, Client.connected(pool.base) as script:
        await first.submit(save_graph(1))
        await first.hear_until("execution_start")
        await script.submit(save_graph(2))
        await script.hear_until("execution_start")
        jobs = {job.client_id: job.runner for job in pool.rooms.jobs.live(None, JobState.RUNNING)}
        assert len(set(jobs.values())) == 2
        assert await name(first) == jobs[first.sid]
        assert await name(script, clientId=script.sid) == jobs[script.sid]
        assert await name(script) == "gpu-0"
        assert await name(other) == "gpu-0"
        for simulator in pool.simulators:
            simulator.resume()


async def test_a_query_that_names_an_output_goes_to_its_runner_under_the_runners_name(pool):
    for simulator in pool.simulators:
        simulator.pause()
    async with Client.connected(pool.base) as client:
        jobs = [await client.submit(save_graph(seed)) for seed in (1, 2)]
        for simulator in pool.simulators:
            await simulator.held()
            simulator.resume()
        told = {}
        await hear_ends(client, jobs)  # in whichever order they come
        for prompt_id in jobs:
            outputs = (await client.history(prompt_id))["outputs"]
            told |= {item["filename"]: prompt_id for output in outputs.values() for item in output["images"]}
        assert len(told) == 2
        runners = set()
        for filename in told:
            query = {"filename": filename, "type": "output", "subfolder": "", "format": "video/h264"}
            async with client.http.get(f"{pool.base}/tn/echo", params=query) as answer:
                runners.add(answer.headers["X-Gateway-Runner"])
                asked = URL((await answer.json())["path"]).query
            assert dict(asked) == query | {"filename": "out_00001_.png"}
        assert runners == {"gpu-0", "gpu-1"}


async def test_a_runner_that_cannot_be_reached_is_passed_over(pool, client):
    await pool.simulator("gpu-0").refuse()
    status, told = await client.post("/tn/echo", {"a": 1})
    assert (status, json.loads(told["body"])) == (200, {"a": 1})
    await pool.simulator("gpu-0").accept()


async def test_a_client_that_breaks_off_is_not_held_against_the_runner(pool, client):
    runner = pool.rooms.pool.get("gpu-0")
    async with client.http.get(f"{pool.base}/tn/many", params={"bytes": HUGE}) as answer:
        await answer.content.readexactly(1000)
        answer.close()
    _, writer = await asyncio.open_connection("127.0.0.1", URL(pool.base).port)
    writer.write(b"POST /tn/whole HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + CHUNK)
    await writer.drain()
    writer.transport.abort()
    assert await name(client) == "gpu-0"
    assert runner.is_ready


# as it came


async def test_what_tells_of_the_client_reaches_no_runner(client):
    secrets = {"Cookie": "a=b", "Authorization": "Bearer x", "Referer": client.base, "X-Forwarded-For": "1.2.3.4"}
    async with client.http.get(f"{client.base}/tn/echo", headers=secrets) as answer:
        assert (await answer.json())["secrets"] == []
        assert answer.headers["X-Gateway-Runner"] == "gpu-0"


async def test_a_compressed_body_arrives_as_what_it_says(client):
    async with client.http.post(f"{client.base}/tn/echo", data=b"x" * 5000, compress="gzip") as answer:
        told = await answer.json()
    assert (told["body"], told["encoding"]) == ("x" * 5000, None)


async def test_a_cut_answer_does_not_look_whole(client):
    with pytest.raises(aiohttp.ClientPayloadError):
        async with client.http.get(f"{client.base}/tn/cut") as answer:
            await answer.read()


async def test_what_never_passes(client):
    for path in ("/x/../queue", "/x/%2e%2e/queue", "/./tn/echo", "/x/%2E%2E%2Fqueue", "/gateway/nothing", "/gateway"):
        async with client.http.get(URL(client.base + path, encoded=True)) as answer:
            assert (answer.status, await answer.read()) == (404, b""), path
            assert "X-Gateway-Runner" not in answer.headers


async def test_a_body_over_the_limit(tmp_path):
    config = {"server": {"port": 0, "max_upload_size": 100_000}}
    async with (
        running_pool(tmp_path, 1, options=[{"extra_routes": ROUTES}], config=config) as pool,
        Client.connected(pool.base) as client,
    ):
        for body in (bytes(100_001), chunks(131_072)):
            async with client.http.post(f"{pool.base}/tn/whole", data=body) as answer:
                assert (answer.status, await answer.text()) == (413, "Maximum request body size 100000 exceeded.")
        assert pool.rooms.pool.get("gpu-0").is_ready


# how much


def memory(key):
    """Bytes of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of memory is read as Linux tells it")
async def test_bodies_stream_both_ways(pool, client):
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = memory("VmRSS")
    async with client.http.post(f"{pool.base}/tn/whole", data=chunks(HUGE)) as answer:
        assert await answer.json() == {"size": HUGE}
    received = 0
    async with client.http.get(f"{pool.base}/tn/many", params={"bytes": HUGE}) as answer:
        async for chunk in answer.content.iter_chunked(len(CHUNK)):
            received += len(chunk)
    assert received == HUGE
    assert memory("VmHWM") - before < GROWTH_MOST


# websockets


async def test_a_websocket_of_a_custom_node(pool, client):
    url = URL(f"{pool.base}/tn/chat?room=a%2Fb", encoded=True)
    async with client.http.ws_connect(url, protocols=["node.v1"], max_msg_size=0) as socket:
        assert await socket.receive_json() == {"path": "/tn/chat?room=a%2Fb", "protocol": "node.v1"}
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello"
        await socket.send_bytes(b"\x00\x01")
        assert await socket.receive_bytes() == b"\x00\x01"
        await socket.send_str(f"size {20 * MEBIBYTE}")
        assert len(await socket.receive_bytes()) == 20 * MEBIBYTE
        await socket.send_str("bye 4321")
        last = await socket.receive()
        assert (last.type, last.data, last.extra) == (aiohttp.WSMsgType.CLOSE, 4321, "as you wish")
    assert socket.close_code == 4321


async def test_the_clients_close_reaches_the_runner(tmp_path):
    closed = asyncio.get_running_loop().create_future()

    async def listen(request):
        socket = aiohttp.web.WebSocketResponse()
        await socket.prepare(request)
        last = await socket.receive()
        closed.set_result((last.data, last.extra))
        return socket

    routes = [aiohttp.web.get("/tn/listen", listen)]
    async with (
        running_pool(tmp_path, 1, options=[{"extra_routes": routes}]) as pool,
        Client.connected(pool.base) as client,
    ):
        socket = await client.http.ws_connect(f"{pool.base}/api/tn/listen")
        await socket.close(code=4000, message=b"enough")
        assert await asyncio.wait_for(closed, 5) == (4000, "enough")


async def test_the_runner_dies_under_a_websocket(pool, client):
    async with client.http.ws_connect(f"{pool.base}/tn/chat") as socket:
        await socket.receive()
        await pool.simulator("gpu-0").die()
        last = await socket.receive(timeout=10)
        assert (last.type, last.data) == (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.GOING_AWAY)


async def test_no_websocket_there(pool, client):
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await client.http.ws_connect(f"{pool.base}/tn/none")
    assert refused.value.status == 404


# ComfyUI-Manager

CHANGES = [
    ("GET", "/manager/reboot"),
    ("GET", "/api/manager/queue/start"),
    ("POST", "/v2/manager/queue/task"),
    ("GET", "/api/v2/manager/reboot"),
    ("GET", "/v2/manager/queue/update_all"),
    ("POST", "/customnode/install/git_url"),
    ("GET", "/customnode/fetch_updates"),
    ("GET", "/snapshot/restore"),
    ("POST", "/api/snapshot/save"),
    ("GET", "/manager/db_mode?value=local"),
    ("GET", "/%6danager/reboot"),
    ("GET", "/comfyui_manager/comfyui_switch_version"),
    ("POST", "/externalmodel/install"),
]
READS = [
    ("GET", "/manager/version"),
    ("GET", "/api/v2/manager/queue/status"),
    ("GET", "/customnode/getmappings"),
    ("POST", "/v2/customnode/import_fail_info_bulk"),
    ("GET", "/snapshot/getlist"),
    ("GET", "/managers/reboot"),
    ("GET", "/my/manager/reboot"),
]


async def test_manager_changes_nothing(client):
    for method, path in CHANGES:
        async with client.http.request(method, URL(client.base + path, encoded=True)) as answer:
            assert answer.status == 403, path
            assert (await answer.json())["error"]["type"] == "manager_disabled"


async def test_manager_may_be_asked(client):
    for method, path in READS:
        async with client.http.request(method, client.base + path) as answer:
            assert answer.status in (404, 405), path
            assert answer.headers["X-Gateway-Runner"] == "gpu-0"


async def test_manager_where_it_is_allowed(tmp_path):
    routes = answering({"/manager/reboot": "done"})
    config = {"passthrough": {"allow_manager": True}}
    async with (
        running_pool(tmp_path, 1, options=[{"extra_routes": routes}], config=config) as pool,
        Client.connected(pool.base) as client,
    ):
        assert await client.get("/manager/reboot") == "done"
