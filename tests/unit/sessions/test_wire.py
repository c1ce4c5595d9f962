"""What is handed over together is what a client hears, frame by frame; and what becomes of one that does not read."""

import asyncio

import aiohttp
import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from gateway.sessions.wire import Wire

LENGTHS = [0, 1, 125, 126, 127, 65_535, 65_536, 3_000_000]  # around each form of a frame's head


@pytest.fixture
async def opened():
    """A wire of a server, and its client's websocket."""
    made: asyncio.Future[Wire] = asyncio.get_running_loop().create_future()

    async def handler(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        made.set_result(Wire(socket, request))
        async for _ in socket:
            pass
        return socket

    app = web.Application()
    app.add_routes([web.get("/ws", handler)])
    async with TestServer(app) as server, aiohttp.ClientSession() as http:

        async def connect(**more):
            client = await http.ws_connect(server.make_url("/ws"), max_msg_size=0, **more)
            return await made, client

        yield connect


async def heard(client, count):
    async with asyncio.timeout(10):
        return [(await client.receive()).data for _ in range(count)]


@pytest.mark.parametrize("compress", [0, 15])
async def test_frames_of_any_length_are_heard_as_they_were_sent(opened, compress):
    wire, client = await opened(compress=compress)
    frames = [made for length in LENGTHS for made in ("ä" * length, b"\xff" * length)]
    sending = asyncio.create_task(wire.send(frames))
    assert await heard(client, len(frames)) == frames
    await sending


async def test_small_frames_together_are_heard_one_by_one(opened):
    wire, client = await opened()
    frames = [str(number) for number in range(5_000)]
    sending = asyncio.create_task(wire.send(frames))
    assert await heard(client, len(frames)) == frames
    await sending


async def test_frames_of_a_compressed_websocket_are_handed_over_one_by_one(opened):
    wire, _ = await opened(compress=15)
    assert wire.together == 0


async def test_control_frames_of_aiohttp_pass_between_frames(opened):
    wire, client = await opened(autoping=False)
    await wire.send(["before"])
    await wire._socket.ping(b"there?")
    await wire.send(["after"])
    async with asyncio.timeout(10):
        told = [await client.receive() for _ in range(3)]
    assert [(frame.type, frame.data) for frame in told] == [
        (WSMsgType.TEXT, "before"),
        (WSMsgType.PING, b"there?"),
        (WSMsgType.TEXT, "after"),
    ]


async def test_what_a_client_does_not_read_is_waited_for(opened):
    wire, client = await opened()
    big = bytes(20_000_000)
    sending = asyncio.create_task(wire.send([big, big]))
    done, _ = await asyncio.wait([sending], timeout=0.05)
    assert not done
    assert await heard(client, 2) == [big, big]
    async with asyncio.timeout(10):
        await sending


async def test_a_close_ends_it(opened):
    wire, client = await opened()
    assert wire.is_open
    closing = asyncio.create_task(wire.close(1001, b"the gateway stops"))
    async with asyncio.timeout(10):
        assert (await client.receive()).type is WSMsgType.CLOSE
        await closing
    assert client.close_code == 1001
    assert not wire.is_open


async def test_a_cut_ends_it(opened):
    wire, client = await opened()
    wire.cut()
    async with asyncio.timeout(10):
        await client.receive()
    assert not wire.is_open
