"""Clients that send or open too much: they harm themselves, and others are served."""

import asyncio
import base64
import os
import struct

import aiohttp
import pytest
from support.client import Client
from support.graphs import save_graph
from support.raw import Connection

MEBIBYTE = 1024 * 1024
HANDSHAKES = 1_000
MESSAGES = 20_000


async def serves_on(pool):
    async with Client.connected(pool.base) as client:
        job = await client.submit(save_graph(1))
        await client.hear_end(job)


async def upgraded(connection: Connection) -> None:
    """A websocket, to be spoken by hand."""
    key = base64.b64encode(os.urandom(16)).decode()
    await connection.send(
        f"GET /ws?clientId=flood HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    assert (await connection.answer()).status == 101


def frame(opcode: int, data: bytes, *, said: int | None = None, final: bool = True) -> bytes:
    """A client's frame, masked with zeros. ``said``: the length in its header, where that is another."""
    length = len(data) if said is None else said
    first = (0x80 if final else 0) | opcode
    if length < 126:
        head = struct.pack(">BB", first, 0x80 | length)
    elif length < 65_536:
        head = struct.pack(">BBH", first, 0x80 | 126, length)
    else:
        head = struct.pack(">BBQ", first, 0x80 | 127, length)
    return head + bytes(4) + data


async def closing_code(connection: Connection) -> int | None:
    """What the server's close says; None where it closes without one. Other frames are passed over."""
    read = connection.reader.readexactly
    async with asyncio.timeout(20):
        try:
            while True:
                first, length = await read(2)
                if length == 126:
                    (length,) = struct.unpack(">H", await read(2))
                data = await read(length)
                if first & 0x0F == 8:
                    return struct.unpack(">H", data[:2])[0]
        except (asyncio.IncompleteReadError, ConnectionError):
            return None


async def test_thousands_of_messages_are_passed_over(pool):
    async with Client.connected(pool.base) as client:
        for number in range(MESSAGES):
            await client.socket.send_str(f'{{"type": "feature_flags", "data": {{"n": {number}}}}}')
        job = await client.submit(save_graph(1))
        await client.hear_end(job)
    await serves_on(pool)


async def test_thousands_of_pings_are_answered_or_the_socket_closes(pool):
    """Pongs that nobody reads must not pile up."""
    async with Connection.to(pool.base) as connection:
        await upgraded(connection)
        sending = asyncio.create_task(connection.send(frame(9, bytes(125)) * 200_000))
        await serves_on(pool)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    await serves_on(pool)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(1, b"", said=1 << 40), 1009),  # says that a terabyte follows
        (frame(1, bytes(5 * MEBIBYTE)), 1009),
        (frame(1, bytes(3 * MEBIBYTE), final=False) + frame(0, bytes(3 * MEBIBYTE)), 1009),
        (frame(3, b""), 1002),  # an opcode that is none
        (frame(0, b"x"), 1002),  # goes on with what has not begun
        (frame(9, bytes(126)), 1002),  # a ping of more than 125 bytes
        (frame(1, b"\xff\xfe"), 1007),  # text that is not UTF-8
        (frame(0x41, b"x"), 1002),  # compressed, which was not agreed
    ],
    ids=["terabyte", "large", "large in parts", "opcode", "continuation", "ping", "utf-8", "compressed"],
)
async def test_frames_that_are_none_close_the_socket(pool, sent, code):
    async with Connection.to(pool.base) as connection:
        await upgraded(connection)
        await connection.send(sent)
        told = await closing_code(connection)
        # What was sent and not read any more makes the system reset the connection, at times before the word arrives.
        assert told == code or (told is None and len(sent) > 65_536)
    await serves_on(pool)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 100_000,
        '{"type":' * 50_000,
        '{"type": "feature_flags", "data": ' + "[" * 900 + "]" * 900 + "}",
        '{"type": "feature_flags", "data": {"a": 1e999}}',
        '{"type": "feature_flags", "data": {"\\ud800": "\\ud800"}}',
        '{"type": {"a": []}, "data": 5}',
        '{"type": "feature_flags", "data": [1]}',
        "NaN",
    ],
)
async def test_messages_that_mean_nothing_are_passed_over(pool, text):
    async with Client.connected(pool.base) as client:
        await client.socket.send_str(text)
        job = await client.submit(save_graph(1))
        await client.hear_end(job)


async def test_a_message_of_zeros_under_compression(pool, http):
    """The limit holds for what comes out."""
    async with http.ws_connect(f"{pool.base}/ws", compress=15) as socket:
        await socket.send_str("0" * (64 * MEBIBYTE))
        while (frame := await socket.receive(timeout=20)).type is aiohttp.WSMsgType.TEXT:
            pass
        assert frame.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
    await serves_on(pool)


async def test_thousands_of_handshakes(pool, http):
    """Each of a new client, none of which says goodbye."""

    async def one(number):
        async with Connection.to(pool.base) as connection:
            await connection.send(
                f"GET /ws?clientId=c{number} HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
            )
            return (await connection.answer()).status

    for start in range(0, HANDSHAKES, 100):
        assert set(await asyncio.gather(*(one(number) for number in range(start, start + 100)))) <= {101, 429}
    await pool.until(lambda: len(pool.rooms.hub) == 0)
    await serves_on(pool)


async def test_one_client_id_many_sockets(pool):
    """A socket of the same id takes the place of the one before."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        sockets = [await http.ws_connect(f"{pool.base}/ws?clientId=same") for _ in range(500)]
        assert len(pool.rooms.hub) == 1
        await serves_on(pool)
        for socket in sockets:
            await socket.close()
    await pool.until(lambda: len(pool.rooms.hub) == 0)
