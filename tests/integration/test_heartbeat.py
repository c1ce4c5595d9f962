"""A client that answers pings stays; one that is gone without a word is cut, and nobody else notices."""

import asyncio

import aiohttp
from support.client import Client
from support.graphs import save_graph
from support.pools import running_pool


async def test_silence_ends_a_socket(tmp_path):
    config = {"sessions": {"heartbeat_seconds": 0.1}}
    async with running_pool(tmp_path, 1, config=config) as pool, Client.connected(pool.base) as alive:
        listening = asyncio.create_task(alive.hear_until("executing", node=None))
        async with alive.http.ws_connect(f"{pool.base}/ws?clientId=mute", autoping=False) as mute:
            told = [(await mute.receive(timeout=20)).type for _ in range(4)]
        assert told[:3] == [aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.PING, aiohttp.WSMsgType.PING]
        assert told[3] in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.ERROR)
        await pool.until(lambda: len(pool.rooms.hub) == 1)
        prompt_id = await alive.submit(save_graph(1))
        assert (await listening)["data"]["prompt_id"] == prompt_id


async def test_a_clients_own_ping_is_answered(tmp_path):
    async with (
        running_pool(tmp_path, 1) as pool,
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{pool.base}/ws", autoping=False) as socket,
    ):
        await socket.receive()
        await socket.ping(b"there?")
        answer = await socket.receive(timeout=20)
        assert (answer.type, answer.data) == (aiohttp.WSMsgType.PONG, b"there?")
