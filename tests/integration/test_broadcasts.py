"""What a runner tells that belongs to no job: its log, and the messages and frames of custom nodes."""

from __future__ import annotations

import asyncio

import pytest
from support.browsers import browser
from support.client import Client
from support.graphs import save_graph
from support.pools import running_pool

from gateway.comfyui import frames

FLAGS = {"supports_preview_metadata": True}


@pytest.fixture
async def pool(tmp_path):
    async with running_pool(tmp_path, 2) as pool:
        yield pool


async def say(pool, name, text):
    """A custom node's message to everyone."""
    pool.simulator(name).state.sockets.send("node.said", {"text": text})
    await pool.simulator(name).state.sockets.sent()


async def subscribe(client, *, enabled=True):
    body = {"clientId": client.sid, "enabled": enabled}
    async with client.http.patch(f"{client.base}/internal/logs/subscribe", json=body) as answer:
        assert answer.status == 200


async def logged(client, text):
    """Waits for an entry of the log."""
    while True:
        message = await client.hear_until("logs")
        if any(text in entry["m"] for entry in message["data"]["entries"]):
            return


def write(pool, name, text):
    pool.simulator(name).state.logs.write(text)


# custom nodes


async def test_an_idle_runner_is_heard_by_those_it_answers_for(pool):
    async with browser(pool.base) as moved, Client.connected(pool.base) as script:
        await pool.simulator("gpu-0").die()
        await pool.until(lambda: pool.rooms.pool.primary.name == "gpu-1")
        await moved.get("/models")
        async with moved.http.get(f"{pool.base}/tn/x"):
            pass  # binds it to gpu-1
        await pool.simulator("gpu-0").restart()
        await pool.until(lambda: pool.rooms.pool.primary.name == "gpu-0")
        await say(pool, "gpu-1", "for the browser")
        await say(pool, "gpu-0", "for everyone else")
        assert (await moved.hear_until("node.said"))["data"] == {"text": "for the browser"}
        assert (await script.hear_until("node.said"))["data"] == {"text": "for everyone else"}


async def test_a_working_runner_is_heard_by_its_jobs_client(pool):
    pool.simulator("gpu-0").pause()
    async with Client.connected(pool.base) as worker, Client.connected(pool.base) as other:
        prompt_id = await worker.submit(save_graph(1))
        await worker.hear_until("execution_start")
        await say(pool, "gpu-0", "while it works")
        assert (await worker.hear_until("node.said"))["data"] == {"text": "while it works"}
        pool.simulator("gpu-0").resume()
        await worker.hear_end(prompt_id)
        await say(pool, "gpu-0", "afterwards")
        assert (await other.hear_until("node.said"))["data"] == {"text": "afterwards"}


async def test_frames_of_an_idle_runner(pool):
    async with Client.connected(pool.base) as client:
        picture = frames.Preview(b"jpeg", "image/jpeg", None)
        pool.simulator("gpu-1").state.sockets.send_preview(frames.Preview(b"other", "image/jpeg", None))
        await pool.simulator("gpu-1").state.sockets.sent()
        pool.simulator("gpu-0").state.sockets.send_preview(picture)
        while not isinstance(frame := await client.hear(), bytes):
            continue
        assert frames.decode_preview(frame).image == b"jpeg"


# the log


async def test_only_who_subscribed_is_sent_the_log(pool):
    async with Client.connected(pool.base) as reader, Client.connected(pool.base) as other:
        await subscribe(reader)
        write(pool, "gpu-0", "hello")
        await logged(reader, "hello")
        await say(pool, "gpu-0", "a marker")
        await other.hear_until("node.said")
        assert not [frame for frame in other.heard if isinstance(frame, dict) and frame["type"] == "logs"]


async def test_the_log_is_the_readers_while_a_job_of_another_runs(pool):
    pool.simulator("gpu-0").pause()
    async with Client.connected(pool.base) as reader, Client.connected(pool.base) as worker:
        await subscribe(reader)
        await worker.submit(save_graph(1))
        await worker.hear_until("execution_start")
        write(pool, "gpu-0", "hello")
        await logged(reader, "hello")
        pool.simulator("gpu-0").resume()


async def test_unsubscribed_is_unsubscribed(pool):
    async with Client.connected(pool.base) as reader:
        await subscribe(reader)
        assert pool.simulator("gpu-0").state.logs._subscribers
        await subscribe(reader, enabled=False)
        assert not pool.simulator("gpu-0").state.logs._subscribers


async def test_a_client_that_leaves_is_no_longer_subscribed(pool):
    async with Client.connected(pool.base) as reader, Client.connected(pool.base) as another:
        await subscribe(reader)
        await subscribe(another)
        await reader.socket.close()
        write(pool, "gpu-0", "hello")
        await logged(another, "hello")
        await another.socket.close()
        await pool.until(lambda: not pool.simulator("gpu-0").state.logs._subscribers)


async def test_a_subscription_outlives_the_runners_restart(pool):
    async with browser(pool.base) as reader:
        await subscribe(reader)
        runner = pool.rooms.pool.get("gpu-0")
        boot = runner.boot
        await pool.simulator("gpu-0").restart()
        async with asyncio.timeout(10):
            await pool.until(lambda: runner.is_ready and runner.boot > boot)
        write(pool, "gpu-0", "again")
        await logged(reader, "again")


async def test_the_log_is_the_runners(pool):
    async with Client.connected(pool.base) as client:
        write(pool, "gpu-0", "of gpu-0")
        write(pool, "gpu-1", "of gpu-1")
        text = await client.get("/internal/logs")
        assert "of gpu-0" in text
        assert "of gpu-1" not in text
        entries = (await client.get("/internal/logs/raw"))["entries"]
        assert "of gpu-0" in entries[-1]["m"]
