"""Clients that do not read what they asked for: their connections are aborted, whatever sends on them, and what is
behind is let go of. Who reads slowly is served."""

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
import trustme
import uvloop
from support.nodes import ROUTES
from support.pools import running_pool
from support.raw import Connection

from gateway.config import TlsConfig
from gateway.serving import listening
from gateway.tls import Certificates

PATIENCE_SECONDS = 0.8
SIZE = 32 * 1024 * 1024  # more than the system's buffers hold
WINDOW = 4_096
RELAYED = f"/tn/many?bytes={SIZE}"
METRIC = "comfy_gateway_http_slow_readers_total"
UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


@asynccontextmanager
async def impatient_pool(folder):
    server = {"port": 0, "slow_reader_seconds": PATIENCE_SECONDS, "max_upload_size": 2 * SIZE}
    nodes = [{"extra_routes": ROUTES}]
    async with running_pool(folder / "data", 1, options=nodes, config={"server": server}) as running:
        form = aiohttp.FormData()
        form.add_field("image", bytes(SIZE), filename="large.bin")
        async with aiohttp.ClientSession() as http, http.post(f"{running.base}/upload/image", data=form) as answer:
            assert answer.status == 200
        async with aiohttp.ClientSession() as http, http.post(f"{running.base}/userdata/large", data=bytes(SIZE)):
            pass
        yield running


@pytest.fixture
async def pool(tmp_path):
    async with impatient_pool(tmp_path) as running:
        yield running


@asynccontextmanager
async def asking(base, request):
    """A connection on which a request was sent, and nothing is read."""
    host, port = base.removeprefix("http://").split(":")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, (host, int(port)))
        await loop.sock_sendall(client, request.encode())
        yield client


def get(path, headers=""):
    return f"GET {path} HTTP/1.1\r\nHost: gateway\r\n{headers}\r\n"


def cut_off(pool):
    return pool.rooms.meters.registry.get_sample_value(METRIC)


def files_open(pool):
    """Contents of the blob store that this process has open."""
    blobs = pool.config.data_dir / "blobs"
    opened = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            opened.append(link.readlink())
    return [path for path in opened if path.is_relative_to(blobs)]


async def test_a_download_is_cut_off_and_its_file_closed(pool):
    async with asking(pool.base, get("/view?filename=large.bin&type=input")):
        await pool.until(lambda: files_open(pool))
        await pool.until(lambda: cut_off(pool) == 1)
        await pool.until(lambda: not files_open(pool))


async def test_a_relayed_stream(pool):
    async with asking(pool.base, get(RELAYED)):
        await pool.until(lambda: cut_off(pool) == 1)


async def test_answers_that_are_asked_for_again_and_again(pool):
    """Each is small; nobody waits for them one by one."""
    async with asking(pool.base, get("/object_info") * 20) as client:
        loop = asyncio.get_running_loop()

        async def ask():
            while True:
                await loop.sock_sendall(client, (get("/object_info") * 20).encode())

        asking_on = asyncio.create_task(ask())
        await pool.until(lambda: cut_off(pool) == 1)
        asking_on.cancel()
        await asyncio.gather(asking_on, return_exceptions=True)


async def test_a_relayed_websocket(pool):
    async with asking(pool.base, get("/tn/chat", UPGRADE)) as client:
        loop = asyncio.get_running_loop()
        text = f"size {SIZE}".encode()
        frame = bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text
        await loop.sock_sendall(client, frame)
        await pool.until(lambda: cut_off(pool) == 1)


async def test_with_tls(pool, tmp_path):
    await over_tls(pool, tmp_path)


async def over_tls(pool, folder):
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "both.pem")
    tls = TlsConfig(certificate=folder / "both.pem", key=folder / "both.pem")
    before = cut_off(pool)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    config = pool.config.model_copy(update={"tls": tls})
    async with listening(config, pool.rooms, Certificates.of(tls)) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting, limit=1)
        writer.write(get("/view?filename=large.bin&type=input").encode())
        writer.transport.pause_reading()
        await pool.until(lambda: cut_off(pool) == before + 1)
        writer.transport.abort()


def test_on_the_loop_that_the_gateway_itself_runs_on(tmp_path):
    async def run():
        async with impatient_pool(tmp_path) as pool:
            for count, path in enumerate(("/view?filename=large.bin&type=input", RELAYED, "/userdata/large"), 1):
                async with asking(pool.base, get(path)):
                    await pool.until(lambda count=count: cut_off(pool) == count)
            await over_tls(pool, tmp_path)
            assert files_open(pool) == []

    uvloop.run(run())


async def test_others_are_answered_meanwhile(pool):
    async with asking(pool.base, get("/view?filename=large.bin&type=input")):
        while not cut_off(pool):
            async with aiohttp.ClientSession() as http, http.get(f"{pool.base}/queue") as answer:
                assert answer.status == 200


async def test_who_reads_slowly_gets_all(pool):
    """It takes several times as long as a client may take nothing."""
    async with Connection.to(pool.base) as connection:
        began = asyncio.get_running_loop().time()
        await connection.send(get("/view?filename=large.bin&type=input").encode())
        head = await connection.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        got = 0
        while got < SIZE:
            got += len(await connection.reader.read(SIZE // 20))
            await asyncio.sleep(PATIENCE_SECONDS / 40)
        assert asyncio.get_running_loop().time() - began > 2 * PATIENCE_SECONDS
        assert got == SIZE
        assert cut_off(pool) == 0


async def test_who_is_sent_nothing_may_wait(pool):
    async with Connection.to(pool.base) as connection:
        await connection.send(get("/queue").encode())
        assert (await connection.answer()).status == 200
        async with asking(pool.base, get("/view?filename=large.bin&type=input")):
            await pool.until(lambda: cut_off(pool) == 1)
        await connection.send(get("/queue").encode())
        assert (await connection.answer()).status == 200
