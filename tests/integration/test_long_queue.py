"""A long queue: in pieces, and compressed for clients that accept it."""

import json
import zlib

import aiohttp
import pytest
from support.busy import fill
from support.client import Client
from support.graphs import save_graph
from support.pools import running_pool

from gateway.api.native.queue import COMPRESSED_FROM
from gateway.api.pieces import TOGETHER_BYTES

WORKFLOW = {"nodes": [{"id": number, "type": "SaveImage", "title": "é" * 20} for number in range(200)]}


@pytest.fixture
async def pool(tmp_path):
    async with running_pool(tmp_path, 1) as pool:
        yield pool


async def read(pool, encoding, method="GET"):
    """The headers and the body as it was sent."""
    async with (
        aiohttp.ClientSession(auto_decompress=False) as http,
        http.request(method, f"{pool.base}/queue", headers={"Accept-Encoding": encoding}) as response,
    ):
        assert response.status == 200
        return response.headers, await response.read()


async def test_it_is_the_same_compressed_and_not(pool):
    async with Client.connected(pool.base) as client:
        ids = await fill(pool, client)
        for seed in range(COMPRESSED_FROM):
            ids.append(await client.submit(save_graph(seed), extra_data={"extra_pnginfo": {"workflow": WORKFLOW}}))
        headers, plain = await read(pool, "identity")
        assert len(plain) > TOGETHER_BYTES
        assert (headers.get("Content-Encoding"), headers["Vary"]) == (None, "Accept-Encoding")
        listed = json.loads(plain)
        assert [item[1] for item in [*listed["queue_running"], *listed["queue_pending"]]] == ids

        for encoding in ("gzip, deflate, br", "deflate"):
            headers, packed = await read(pool, encoding)
            assert headers["Content-Encoding"] == "deflate"
            assert headers["Content-Type"] == "application/json; charset=utf-8"
            assert len(packed) < len(plain) / 4
            assert zlib.decompress(packed) == plain
        assert await client.get("/queue") == listed  # as clients read it that decompress by themselves

        assert "Content-Encoding" not in (await read(pool, "gzip"))[0]
        headers, nothing = await read(pool, "identity", "HEAD")
        assert (nothing, headers["Content-Length"]) == (b"", str(len(plain)))

        await client.post("/queue", {"delete": [ids[-1], ids[-COMPRESSED_FROM]]})
        left = json.loads(zlib.decompress((await read(pool, "deflate"))[1]))
        assert [item[1] for item in left["queue_pending"]] == [
            each for each in ids[1:-1] if each != ids[-COMPRESSED_FROM]
        ]


async def test_a_short_one_is_not_compressed(pool):
    headers, body = await read(pool, "gzip, deflate")
    assert "Content-Encoding" not in headers and "Vary" not in headers
    assert json.loads(body) == {"queue_running": [], "queue_pending": []}
