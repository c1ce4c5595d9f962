"""A client written for Comfy Cloud: its key in a header and in the websocket's query, no ``client_id`` in its prompts,
and the routes that only Comfy Cloud has.
"""

import json
from contextlib import asynccontextmanager

import aiohttp
import pytest
from support.client import PATIENCE_SECONDS
from support.graphs import save_graph
from support.owners import guarded_pool, token_of

NOBODYS = "00000000-0000-4000-8000-000000000000"


class CloudClient:
    """As the guide of Comfy Cloud's API writes one."""

    def __init__(self, base, key, http):
        self.base = base
        self.key = key
        self.http = http

    async def get(self, path, status=200):
        async with self.http.get(self.base + path, headers={"X-API-Key": self.key}) as answer:
            assert answer.status == status, await answer.text()
            return await answer.json()

    async def submit(self, graph, **more):
        body = {"prompt": graph, **more}
        async with self.http.post(f"{self.base}/api/prompt", json=body, headers={"X-API-Key": self.key}) as answer:
            assert answer.status == 200, await answer.text()
            return (await answer.json())["prompt_id"]

    @asynccontextmanager
    async def socket(self):
        async with self.http.ws_connect(f"{self.base}/ws?clientId={NOBODYS}&token={self.key}") as socket:
            yield socket

    async def listen(self, socket, prompt_id):
        """What is told of a prompt, up to its end."""
        told = []
        while not told or told[-1]["type"] not in ("execution_success", "execution_error", "execution_interrupted"):
            frame = await socket.receive(timeout=PATIENCE_SECONDS)
            if frame.type is aiohttp.WSMsgType.TEXT:
                message = json.loads(frame.data)
                if message["data"].get("prompt_id") == prompt_id:
                    told.append(message)
        return told


@pytest.fixture
async def pool(tmp_path):
    async with guarded_pool(tmp_path, 1) as opened:
        yield opened


@pytest.fixture
async def client(pool):
    async with aiohttp.ClientSession() as http:
        yield CloudClient(pool.base, await token_of(pool, "alice"), http)


async def test_a_socket_opened_after_the_prompt_hears_its_outputs_and_its_end(pool, client):
    pool.simulators[0].pause(3)
    prompt_id = await client.submit(save_graph(1))
    async with client.socket() as socket:
        pool.simulators[0].resume()
        told = await client.listen(socket, prompt_id)
    assert [message["data"]["output"]["images"] for message in told if message["type"] == "executed"]
    assert told[-1]["type"] == "execution_success"


async def test_so_does_one_that_comes_after_the_end(pool, client):
    prompt_id = await client.submit(save_graph(2))
    await pool.until(lambda: prompt_id in pool.rooms.jobs.history)
    async with client.socket() as socket:
        told = await client.listen(socket, prompt_id)
    assert [message["type"] for message in told] == ["executed", "execution_success"]


async def test_another_user_hears_nothing(pool, client):
    async with aiohttp.ClientSession() as http:
        other = CloudClient(pool.base, await token_of(pool, "bob"), http)
        async with other.socket() as theirs, client.socket() as socket:
            prompt_id = await client.submit(save_graph(3))
            await client.listen(socket, prompt_id)
            own = await other.submit(save_graph(4))
            heard = []
            while not heard or heard[-1].get("data", {}).get("prompt_id") != own:
                frame = await theirs.receive(timeout=PATIENCE_SECONDS)
                heard += [json.loads(frame.data)] if frame.type is aiohttp.WSMsgType.TEXT else []
            assert prompt_id not in json.dumps(heard)


async def test_a_prompt_that_names_a_client_is_told_to_it_alone(pool, client):
    async with client.socket() as socket:
        named = await client.submit(save_graph(5), client_id="another")
        await pool.until(lambda: named in pool.rooms.jobs.history)
        prompt_id = await client.submit(save_graph(6))
        heard = []
        while not heard or heard[-1].get("data", {}).get("prompt_id") != prompt_id:
            frame = await socket.receive(timeout=PATIENCE_SECONDS)
            heard += [json.loads(frame.data)] if frame.type is aiohttp.WSMsgType.TEXT else []
        assert named not in json.dumps(heard)


async def test_a_jobs_status_until_its_end(pool, client):
    pool.simulators[0].pause()
    running, waiting = await client.submit(save_graph(7)), await client.submit(save_graph(8))
    await pool.until(lambda: pool.rooms.jobs.job(running, "alice").state == "running")
    assert (await client.get(f"/api/job/{running}/status"))["status"] == "executing"
    assert (await client.get(f"/api/job/{waiting}/status"))["status"] == "queued_waiting"
    assert await client.get(f"/api/history_v2/{running}", status=404) == {
        "code": "not_found",
        "message": "There is no history of this prompt",
    }
    pool.simulators[0].resume()
    await pool.until(lambda: waiting in pool.rooms.jobs.history)
    status = await client.get(f"/api/job/{running}/status")
    assert (status["id"], status["status"], status["error_message"]) == (running, "success", None)
    assert status["created_at"] <= status["updated_at"]
    assert status["created_at"].endswith("Z")


async def test_a_failure_is_told_with_its_words(pool, client):
    prompt_id = await client.submit(save_graph(9, fail_at=0))
    await pool.until(lambda: prompt_id in pool.rooms.jobs.history)
    status = await client.get(f"/api/job/{prompt_id}/status")
    assert status["status"] == "error"
    assert "probe" in status["error_message"]


async def test_the_history_in_its_form(pool, client):
    info = {"extra_pnginfo": {"workflow": {"id": "a-workflow", "nodes": []}, "other": 1}}
    first = await client.submit(save_graph(10), extra_data=info)
    second = await client.submit(save_graph(11))
    await pool.until(lambda: all(each in pool.rooms.jobs.history for each in (first, second)))
    entry = (await client.get(f"/api/history_v2/{first}"))[first]
    assert entry["prompt"]["prompt_id"] == first
    assert entry["prompt"]["prompt"] == save_graph(10)
    assert entry["outputs"]["3"]["images"]
    assert entry["status"]["completed"] is True
    page = (await client.get("/api/history_v2?max_items=1&offset=1"))["history"]
    assert [each["prompt_id"] for each in page] == [first]
    assert page[0]["workflow_id"] == "a-workflow"
    assert page[0]["prompt"]["extra_data"]["extra_pnginfo"] == {"other": 1}
    assert "prompt" not in page[0]["prompt"]
    assert [each["prompt_id"] for each in (await client.get("/api/history_v2"))["history"]] == [second, first]
    assert (await client.get("/api/history_v2?max_items=x", status=400))["code"] == "bad_request"


async def test_the_user_is_active(client):
    assert await client.get("/api/user") == {"status": "active"}
