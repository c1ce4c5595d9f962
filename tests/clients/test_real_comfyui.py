"""The gateway over real ComfyUI servers, which COMFYUI_URLS names: http://…,http://… They may be of any version and
are only used as any client would; some files named gateway-test-… stay in their folders."""

import asyncio
import io
import json
import os
import time

import aiohttp
import pytest
from PIL import Image
from support.client import Client
from support.graphs import invert_graph
from support.png import graph_of
from support.real import (
    RealPool,
    fetch,
    gateway_over_servers,
    has_probe,
    new_color,
    new_prefix,
    picture_graph,
    post,
    trace,
)
from support.scripts import pictures_of, run_script

URLS = [url.strip().rstrip("/") for url in os.environ.get("COMFYUI_URLS", "").split(",") if url.strip()]
BRIEF_SECONDS = 3.0  # a call that waits for nothing, on a machine that is busy
LONG_SECONDS = 120.0  # a job that is always interrupted
PREVIEWS = {"supports_preview_metadata": True}

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not URLS, reason="COMFYUI_URLS names no ComfyUI servers (http://host:port,…)"),
]
each_server = pytest.mark.parametrize("url", URLS or [None])


async def needs_probe(urls: list[str]) -> None:
    """Skips where a server has no node that takes time."""
    if not all([await has_probe(url) for url in urls]):
        pytest.skip("a server of COMFYUI_URLS has no ProgressProbe node")


def without_inputs(told: list) -> list:
    """Without the inputs that an error shows: among them is a picture, and they are not of the same size."""
    return [[kind, {**data, "current_inputs": 0}] if kind == "execution_error" else [kind, data] for kind, data in told]


def color_of(picture: bytes) -> int:
    """What was drawn, by the graph in the picture."""
    return int(graph_of(picture)["1"]["inputs"]["color"])


def png(color: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (48, 32), color).save(buffer, "PNG")
    return buffer.getvalue()


async def upload(base: str, name: str, content: bytes) -> str:
    form = aiohttp.FormData()
    form.add_field("image", content, filename=name, content_type="image/png")
    async with aiohttp.ClientSession() as http, http.post(f"{base}/upload/image", data=form) as response:
        assert response.status == 200, await response.text()
        return str((await response.json())["name"])


async def keep_busy(pool: RealPool, client: Client) -> list[str]:
    """Fills every slot of the pool with jobs that take long; returns those that run."""
    capacity = sum(runner.capacity for runner in pool.rooms.pool)
    graphs = [
        picture_graph(new_color(), new_prefix(), probe=True, steps=1000, seconds=LONG_SECONDS) for _ in range(capacity)
    ]
    ids = [await client.submit(graph) for graph in graphs]
    await pool.until(
        lambda: len(json.loads(b"".join(pool.rooms.jobs.queue(None).pieces()))["queue_running"]) == len(pool.urls)
    )
    running = {item[1] for item in json.loads(b"".join(pool.rooms.jobs.queue(None).pieces()))["queue_running"]}
    return [prompt_id for prompt_id in ids if prompt_id in running]


async def ids_on(url: str) -> set[str]:
    """Every prompt that a server knows of."""
    queue = await fetch(f"{url}/queue")
    return {item[1] for items in queue.values() for item in items} | set(await fetch(f"{url}/history"))


@each_server
@pytest.mark.parametrize("flags", [None, {}, PREVIEWS], ids=["no flags", "empty flags", "previews"])
async def test_same_events_as_the_server(tmp_path, url, flags):
    probe = await has_probe(url)
    direct = await trace(url, picture_graph(new_color(), new_prefix(), probe=probe, steps=3), flags)
    async with gateway_over_servers(tmp_path, [url]) as pool:
        through = await trace(pool.base, picture_graph(new_color(), new_prefix(), probe=probe, steps=3), flags)
    assert through == direct
    previews = [data[0] for kind, data in direct if kind == "frame"]
    assert previews == ([4 if flags else 1] * 3 if probe else [])


@each_server
async def test_same_events_when_cached(tmp_path, url):
    graph = picture_graph(new_color(), new_prefix(), probe=await has_probe(url))
    await trace(url, graph, None)
    direct = await trace(url, graph, None)
    async with gateway_over_servers(tmp_path, [url]) as pool:
        assert await trace(pool.base, graph, None) == direct


@each_server
async def test_same_events_when_a_node_fails(tmp_path, url):
    await needs_probe([url])
    color = new_color()  # it is in the error's current_inputs
    graphs = [picture_graph(color, new_prefix(), probe=True, steps=3, fail_at=1) for _ in range(2)]
    graphs[1]["1"]["inputs"]["width"] += 8
    direct = await trace(url, graphs[0], None)
    async with gateway_over_servers(tmp_path, [url]) as pool:
        through = await trace(pool.base, graphs[1], None)
    assert without_inputs(through) == without_inputs(direct)
    assert "execution_error" in [kind for kind, _ in direct]


@each_server
async def test_upload_invert_preview(tmp_path, url):
    """The same bytes, uploaded to the gateway and to the server, give the same events, and the right picture."""
    color = tuple(new_color().to_bytes(3))
    async with gateway_over_servers(tmp_path, [url]) as pool, Client.connected(pool.base) as client:
        through = await trace(pool.base, invert_graph(await upload(pool.base, f"{new_prefix()}.png", png(color))), None)
        direct = await trace(url, invert_graph(await upload(url, f"{new_prefix()}.png", png(color[::-1]))), None)
        assert through == direct
        prompt_id = await client.submit(invert_graph(await upload(pool.base, f"{new_prefix()}.png", png(color))))
        await client.hear_end(prompt_id)
        (item,) = (await client.history(prompt_id))["outputs"]["3"]["images"]
        assert item["type"] == "temp"
        picture = Image.open(io.BytesIO(await client.view(**item)))
    assert picture.size == (48, 32)
    drawn = picture.convert("RGB").getpixel((0, 0))
    # ComfyUI computes in floats, and cuts off what is behind the point.
    assert all(abs(255 - was - became) <= 1 for was, became in zip(color, drawn, strict=True)), (color, drawn)


async def test_example_pattern_on_all(tmp_path):
    """As many prompts as there are servers, and then some: each picture is its own, every name is given once."""
    probe = all([await has_probe(url) for url in URLS])
    prefix = new_prefix()
    async with gateway_over_servers(tmp_path, URLS) as pool, Client.connected(pool.base) as client:
        colors = [new_color() for _ in range(4 * len(URLS))]
        ids = [await client.submit(picture_graph(color, prefix, probe=probe, seconds=0.2)) for color in colors]
        await asyncio.wait_for(hear_all(client, ids), 60)
        names = []
        for prompt_id, color in zip(ids, colors, strict=True):
            entry = await client.history(prompt_id)
            assert entry["status"]["completed"], entry
            assert [color_of(picture) for picture in await client.files(prompt_id)] == [color]
            names += [item["filename"] for item in entry["outputs"]["3"]["images"]]
        assert sorted(names) == [f"{prefix}_{number:05}_.png" for number in range(1, len(ids) + 1)]


async def test_script(tmp_path):
    """A script after ComfyUI's own websocket example, unaware of the gateway."""
    probe = all([await has_probe(url) for url in URLS])
    colors = [new_color() for _ in range(20)]
    graphs = [picture_graph(color, new_prefix(), probe=probe) for color in colors]
    async with gateway_over_servers(tmp_path, URLS) as pool:
        lines = await run_script(pool.base, graphs)
    assert [[color_of(picture) for picture in pictures_of(line)] for line in lines] == [[color] for color in colors]
    for line in lines:
        assert line["told"][:2] == ["execution_start", "execution_cached"]
        assert line["told"][-2:] == ["execution_success", ["executing", None]]


async def hear_all(client: Client, ids: list[str]) -> None:
    """Reads until all of these have ended, in whatever order."""
    left = set(ids)
    while left:
        told = await client.hear()
        if isinstance(told, dict) and told["type"] == "executing" and told["data"]["node"] is None:
            left.discard(told["data"]["prompt_id"])


async def test_names_that_collide(tmp_path):
    """Two servers write the same name at the same time; the gateway's clients see two, each with its own picture."""
    if len(URLS) < 2:
        pytest.skip("COMFYUI_URLS names one server only")
    await needs_probe(URLS)
    prefix, colors = new_prefix(), [new_color() for _ in URLS]
    async with gateway_over_servers(tmp_path, URLS) as pool, Client.connected(pool.base) as client:
        ids = [await client.submit(picture_graph(color, prefix, probe=True, seconds=1.5)) for color in colors]
        await pool.until_running(*ids)
        await hear_all(client, ids)
        for url in URLS:
            own = [entry for entry in (await fetch(f"{url}/history")).values() if json.dumps(entry).count(prefix)]
            assert [entry["outputs"]["3"]["images"][0]["filename"] for entry in own] == [f"{prefix}_00001_.png"]
        names = set()
        for prompt_id, color in zip(ids, colors, strict=True):
            (item,) = (await client.history(prompt_id))["outputs"]["3"]["images"]
            names.add(item["filename"])
            assert color_of(await client.view(**item)) == color
            told = [each for each in client.heard if isinstance(each, dict) and each["type"] == "executed"]
            assert [
                e["data"]["output"]["images"][0]["filename"] for e in told if e["data"]["prompt_id"] == prompt_id
            ] == [item["filename"]]
        assert names == {f"{prefix}_{number:05}_.png" for number in range(1, len(URLS) + 1)}
        await client.view(status=404, filename=f"{prefix}_{len(URLS) + 1:05}_.png", type="output", subfolder="")


def broken_graphs() -> dict[str, dict]:
    """Prompts that every server refuses, each for another reason."""
    good = picture_graph(new_color(), new_prefix(), probe=False)
    return {
        "no output": {"1": good["1"]},
        "unknown class": {**good, "2": {"class_type": "NoSuchNode", "inputs": {"image": ["1", 0]}}},
        "input missing": {**good, "3": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}}},
        "value too small": {**good, "1": {"class_type": "EmptyImage", "inputs": {**good["1"]["inputs"], "width": -1}}},
        "not a number": {**good, "1": {"class_type": "EmptyImage", "inputs": {**good["1"]["inputs"], "width": "x"}}},
        "wrong link type": {**good, "3": {"class_type": "SaveImage", "inputs": {"images": ["4", 1]}}}
        | {"4": {"class_type": "LoadImage", "inputs": {"image": "no such file.png"}}},
        "no class": {"1": {"inputs": {}}},
        "empty": {},
    }


async def test_refusals_are_the_servers_own_while_all_are_busy(tmp_path):
    await needs_probe(URLS)
    async with gateway_over_servers(tmp_path, URLS) as pool, Client.connected(pool.base) as client:
        await keep_busy(pool, client)
        known = [await ids_on(url) for url in URLS]
        for reason, graph in broken_graphs().items():
            body = {"prompt": graph, "client_id": client.sid}
            began = time.monotonic()
            async with client.http.post(f"{pool.base}/prompt", json=body) as response:
                status, answer = response.status, await response.json()
                runner = response.headers["X-Gateway-Runner"]
            assert time.monotonic() - began < BRIEF_SECONDS, reason
            assert (status, answer) == await post(f"{pool.urls[runner]}/prompt", body), reason
            assert status == 400, reason
        assert [await ids_on(url) for url in URLS] == known
        assert len((await client.get("/queue"))["queue_pending"]) == len(URLS)


async def test_accepted_while_all_are_busy(tmp_path):
    """A valid prompt is accepted at once and waits in the gateway: no server has a trace of it."""
    await needs_probe(URLS)
    async with gateway_over_servers(tmp_path, URLS) as pool, Client.connected(pool.base) as client:
        busy = await keep_busy(pool, client)
        known = [await ids_on(url) for url in URLS]
        color = new_color()
        began = time.monotonic()
        prompt_id = await client.submit(picture_graph(color, new_prefix(), probe=True))
        assert time.monotonic() - began < BRIEF_SECONDS
        assert [await ids_on(url) for url in URLS] == known
        assert [item[1] for item in (await client.get("/queue"))["queue_pending"]][-1] == prompt_id
        pending = [item[1] for item in (await client.get("/queue"))["queue_pending"]]
        await client.post("/queue", {"delete": [each for each in pending if each != prompt_id]})
        for each in busy:
            await client.post("/interrupt", {"prompt_id": each})
        await client.hear_end(prompt_id)
        assert [color_of(picture) for picture in await client.files(prompt_id)] == [color]


@each_server
async def test_partly_valid(tmp_path, url):
    """200 with the server's node_errors; the valid output runs."""
    color = new_color()
    graph = picture_graph(color, new_prefix(), probe=False)
    graph["4"] = {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}}
    status, direct = await post(f"{url}/prompt", {"prompt": graph})
    assert status == 200
    async with gateway_over_servers(tmp_path, [url]) as pool, Client.connected(pool.base) as client:
        status, through = await client.post("/prompt", {"prompt": graph, "client_id": client.sid})
        assert status == 200
        assert through["node_errors"] == direct["node_errors"] != {}
        assert through.keys() == direct.keys()
        await client.hear_end(through["prompt_id"])
        entry = await client.history(through["prompt_id"])
        assert entry["prompt"][4] == ["3"]
        assert entry["outputs"].keys() == {"3"}


@each_server
@pytest.mark.parametrize("route", ["interrupt by id", "interrupt all", "cancel", "cancel several"])
async def test_interrupt_running(tmp_path, url, route):
    await needs_probe([url])
    async with gateway_over_servers(tmp_path, [url]) as pool, Client.connected(pool.base) as client:
        (prompt_id,) = await keep_busy(pool, client)
        await client.hear_until("progress", prompt_id=prompt_id)
        status, answer = await {
            "interrupt by id": lambda: client.post("/interrupt", {"prompt_id": prompt_id}),
            "interrupt all": lambda: client.post("/interrupt"),
            "cancel": lambda: client.post(f"/api/jobs/{prompt_id}/cancel"),
            "cancel several": lambda: client.post("/api/jobs/cancel", {"job_ids": [prompt_id]}),
        }[route]()
        assert status == 200
        assert answer == ({"cancelled": True} if "cancel" in route else "")
        await client.hear_end(prompt_id)
        assert client.told(prompt_id)[-2:] == ["execution_interrupted", "executing"]
        status = (await client.history(prompt_id))["status"]
        assert (status["status_str"], status["completed"]) == ("error", False)
        assert (await client.get(f"/api/jobs/{prompt_id}"))["status"] == "cancelled"
        queue = await client.get("/queue")
        assert prompt_id not in json.dumps(queue)
        assert len(queue["queue_running"]) + len(queue["queue_pending"]) == 1


@each_server
@pytest.mark.parametrize("where", ["on the server", "in the gateway"])
@pytest.mark.parametrize("route", ["delete", "clear", "cancel", "cancel several"])
async def test_take_out_pending(tmp_path, url, where, route):
    """A job that has not begun is gone without a trace, wherever it waits; the running one goes on."""
    await needs_probe([url])
    async with gateway_over_servers(tmp_path, [url]) as pool, Client.connected(pool.base) as client:
        (running,) = await keep_busy(pool, client)
        if where == "on the server":
            (target,) = [item[1] for item in (await client.get("/queue"))["queue_pending"]]
            assert target in await ids_on(url)
        else:
            target = await client.submit(picture_graph(new_color(), new_prefix(), probe=True))
            assert target not in await ids_on(url)
        status, answer = await {
            "delete": lambda: client.post("/queue", {"delete": [target]}),
            "clear": lambda: client.post("/queue", {"clear": True}),
            "cancel": lambda: client.post(f"/api/jobs/{target}/cancel"),
            "cancel several": lambda: client.post("/api/jobs/cancel", {"job_ids": [target]}),
        }[route]()
        assert status == 200
        assert answer == ({"cancelled": True} if "cancel" in route else "")
        queue = await client.get("/queue")
        assert [item[1] for item in queue["queue_running"]] == [running]
        assert target not in [item[1] for item in queue["queue_pending"]]
        assert target not in await ids_on(url)
        assert await client.get(f"/history/{target}") == {}
        await client.get(f"/api/jobs/{target}", status=404)


@each_server
async def test_interrupt_leaves_pending_alone(tmp_path, url):
    await needs_probe([url])
    async with gateway_over_servers(tmp_path, [url]) as pool, Client.connected(pool.base) as client:
        (running,) = await keep_busy(pool, client)
        (waiting,) = [item[1] for item in (await client.get("/queue"))["queue_pending"]]
        assert await client.post("/interrupt", {"prompt_id": waiting}) == (200, "")
        queue = await client.get("/queue")
        assert [item[1] for item in queue["queue_running"]] == [running]
        assert [item[1] for item in queue["queue_pending"]] == [waiting]


@each_server
async def test_jobs_api(tmp_path, url):
    """The newer listing, also over a server that does not have it."""
    async with gateway_over_servers(tmp_path, [url]) as pool, Client.connected(pool.base) as client:
        workflow = {"id": "6b8a3f0e-5a0f-4b0e-9a43-0d6f3f1f7b11"}
        graph = picture_graph(new_color(), new_prefix(), probe=False)
        prompt_id = await client.submit(graph, extra_data={"extra_pnginfo": {"workflow": workflow}})
        await client.hear_end(prompt_id)
        listing = await client.get("/api/jobs", limit=1)
        assert listing["pagination"] == {"offset": 0, "limit": 1, "total": 1, "has_more": False}
        (row,) = listing["jobs"]
        assert (row["id"], row["status"], row["outputs_count"]) == (prompt_id, "completed", 1)
        assert row["workflow_id"] == workflow["id"]
        assert row["execution_end_time"] >= row["execution_start_time"] >= row["create_time"] - 1000
        item = {key: row["preview_output"][key] for key in ("filename", "subfolder", "type")}
        assert graph_of(await client.view(**item))["1"] == graph["1"]
        detail = await client.get(f"/api/jobs/{prompt_id}")
        assert detail["outputs"]["3"]["images"] == [item]
        assert detail["workflow"]["prompt"]["3"]["inputs"] == graph["3"]["inputs"]
        assert (await client.get("/api/jobs?status=failed"))["jobs"] == []
