"""Clients that ask too much, too slowly, or do not read: each is bounded, and the others do not notice."""

import asyncio
import json
from pathlib import Path

import aiohttp
from support.client import Client
from support.graphs import save_graph
from support.pools import RunningPool, running_pool

from gateway.comfyui import frames

MEGABYTE = 1 << 20


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / MEGABYTE


def picture(megabytes: int) -> bytes:
    """A result: it is never dropped."""
    return frames.preview_frame(b"\x89PNG" + bytes(megabytes * MEGABYTE), "image/png")


def session_of(pool: RunningPool, sid: str):
    return pool.rooms.hub._sessions["", sid]


async def post(client: Client, **more) -> aiohttp.ClientResponse:
    async with client.http.post(f"{client.base}/prompt", json={"prompt": save_graph(1), **more}) as response:
        await response.read()
        return response


async def test_the_queue_is_bounded_also_for_prompts_that_come_at_once(tmp_path):
    async with (
        running_pool(tmp_path, 1, config={"queue": {"max_pending": 5}}) as pool,
        Client.connected(pool.base) as client,
    ):
        pool.simulators[0].pause()
        answers = await asyncio.gather(*(post(client) for _ in range(30)))
        assert sum(answer.status == 200 for answer in answers) <= 5
        full = next(answer for answer in answers if answer.status == 429)
        body = json.loads(await full.text())
        assert int(full.headers["Retry-After"]) > 0
        assert (body["error"]["type"], body["error"]["extra_info"], body["node_errors"]) == (
            "queue_full",
            {"limit": 5},
            {},
        )
        pool.simulators[0].resume()
        await pool.until(lambda: pool.rooms.jobs.registry.taken == 0)
        assert (await post(client)).status == 200


async def test_one_client_does_not_fill_the_queue(tmp_path):
    async with (
        running_pool(tmp_path, 1, config={"queue": {"max_pending_per_client": 2}}) as pool,
        Client.connected(pool.base) as client,
    ):
        pool.simulators[0].pause()
        assert [(await post(client, client_id="greedy")).status for _ in range(4)] == [200, 200, 429, 429]
        assert (await post(client, client_id="modest")).status == 200
        assert [(await post(client)).status for _ in range(3)] == [200, 200, 429]
        pool.simulators[0].resume()
        await pool.until(lambda: pool.rooms.jobs.registry.taken == 0)
        assert (await post(client, client_id="greedy")).status == 200


async def test_a_body_that_does_not_come(tmp_path):
    async with running_pool(tmp_path, 1, config={"server": {"port": 0, "body_seconds": 0.2}}) as pool:
        host, port = pool.base.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /prompt HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        answer = await asyncio.wait_for(reader.readuntil(b"body_too_slow"), 10)
        assert answer.startswith(b"HTTP/1.1 408")
        await asyncio.wait_for(reader.read(), 20)  # until it is closed
        writer.close()


async def test_a_body_that_is_too_large(tmp_path):
    config = {"server": {"port": 0, "max_upload_size": MEGABYTE}}
    async with running_pool(tmp_path, 1, config=config) as pool, Client.connected(pool.base) as client:
        assert (await post(client, extra_data={"x": "y" * 2 * MEGABYTE})).status == 413
        assert (await post(client, extra_data={"x": "y" * (MEGABYTE // 2)})).status == 200


async def test_a_client_that_never_reads(tmp_path):
    """Its results wait up to the bound, then it is closed; another client hears everything meanwhile."""
    async with running_pool(tmp_path, 1) as pool, Client.connected(pool.base) as client:
        host, port = pool.base.removeprefix("http://").split(":")
        _, deaf = await asyncio.open_connection(host, int(port))
        deaf.write(
            b"GET /ws?clientId=deaf HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        await pool.until(lambda: ("", "deaf") in pool.rooms.hub._sessions)
        session, before, large = session_of(pool, "deaf"), resident_mb(), picture(50)
        for _ in range(20):
            session.send_frame(large)
            session.send_frame(frames.preview_frame(b"\xff\xd8" + bytes(MEGABYTE), "image/jpeg"))
            await asyncio.sleep(0)
        assert session.is_too_slow
        prompt_id = await client.submit(save_graph(3))
        await client.hear_end(prompt_id)
        await pool.until(lambda: ("", "deaf") not in pool.rooms.hub._sessions)
        assert resident_mb() - before < 400
        deaf.close()


async def test_a_large_frame_reaches_a_client_that_reads(tmp_path):
    async with running_pool(tmp_path, 1) as pool, Client.connected(pool.base) as client:
        large = picture(100)
        session_of(pool, client.sid).send_frame(large)
        while not isinstance(heard := await client.hear(), bytes):
            pass
        assert heard == large


async def test_reconnects_leave_nothing_behind(tmp_path):
    async with running_pool(tmp_path, 1) as pool, aiohttp.ClientSession() as http:
        for number in range(1_000):
            async with http.ws_connect(f"{pool.base}/ws?clientId=again-{number % 3}"):
                pass
        await pool.until(lambda: len(pool.rooms.hub) == 0)
        assert len(pool.rooms.hub._clients) <= 3
