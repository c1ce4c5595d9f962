"""Clients that send slowly, or nothing: each wait has a deadline, and what they hold is freed."""

import asyncio

import aiohttp
from support.raw import Connection

HEAD = b"POST /prompt HTTP/1.1\r\nHost: gateway\r\n"


async def closes(connection):
    """Whether the server closes without a word."""
    return await connection.rest() == b""


async def test_a_connection_that_says_nothing_is_closed(impatient):
    async with Connection.to(impatient.base) as connection:
        assert await closes(connection)


async def test_headers_that_trickle_in_are_not_waited_for(impatient):
    """A byte now and then does not put the deadline off."""

    async def trickle():
        for byte in b"GET /gateway/health HTTP/1.1\r\nHost: gateway\r\n" + b"X-A: 1\r\n" * 10_000:
            await connection.send(bytes([byte]))
            await asyncio.sleep(0.01)

    async with Connection.to(impatient.base) as connection:
        sending = asyncio.create_task(trickle())
        assert await closes(connection)
        assert not sending.done()
        sending.cancel()


async def test_nor_on_a_connection_that_had_an_answer(impatient):
    async with Connection.to(impatient.base) as connection:
        await connection.send(b"GET /gateway/health HTTP/1.1\r\nHost: gateway\r\n\r\n")
        assert (await connection.answer()).status == 200
        await connection.send(b"GET /gateway/hea")
        assert await closes(connection)


async def test_a_body_that_trickles_in_is_408(impatient):
    for start in (
        b"Content-Length: 20\r\n\r\n{",
        b"Transfer-Encoding: chunked\r\n\r\n1\r\n{",
        b"Content-Length: 9\r\n\r\n",
    ):
        async with Connection.to(impatient.base) as connection:
            await connection.send(HEAD + start)
            answer = await connection.answer()
            assert (answer.status, answer.headers["connection"]) == (408, "close")
            assert b"body" in answer.body


async def test_a_chunk_extension_without_end_is_408(impatient):
    async with Connection.to(impatient.base) as connection:
        await connection.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2;" + b"a" * 100_000)
        assert (await connection.answer()).status == 408


async def test_an_upload_that_stops_is_408(impatient):
    form = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\nbegins'
    head = b"POST /upload/image HTTP/1.1\r\nHost: gateway\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    async with Connection.to(impatient.base) as connection:
        await connection.send(head + b"Content-Length: 1000\r\n\r\n" + form)
        assert (await connection.answer()).status == 408
    async with aiohttp.ClientSession() as http, http.get(f"{impatient.base}/internal/files/input") as answer:
        assert "a.png" not in await answer.text()


async def test_a_body_for_a_runner_that_stops_is_408(impatient):
    """It holds a connection to the runner, too."""
    async with Connection.to(impatient.base) as connection:
        await connection.send(b"POST /tn/whole HTTP/1.1\r\nHost: gateway\r\nContent-Length: 1000\r\n\r\nbegins")
        assert (await connection.answer()).status == 408


async def test_hundreds_of_slow_ones_keep_nobody_waiting(impatient):
    async with aiohttp.ClientSession() as http:
        slow = [await asyncio.open_connection("127.0.0.1", int(impatient.base.rsplit(":", 1)[1])) for _ in range(300)]
        for _, writer in slow:
            writer.write(HEAD[:20])
        async with http.get(f"{impatient.base}/prompt", timeout=aiohttp.ClientTimeout(total=5)) as answer:
            assert answer.status == 200
        for reader, writer in slow:
            assert await asyncio.wait_for(reader.read(-1), 20) == b""
            writer.close()
