"""Small requests that would become large: refused before they do, and the gateway serves on."""

import gzip
import io
import struct
import zlib
from pathlib import Path

import aiohttp
import pytest
from PIL import Image
from support.client import Client
from support.graphs import save_graph

MEBIBYTE = 1024 * 1024
GROWTH_MOST = 96 * MEBIBYTE  # of this process, which is client, gateway and runner in one


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes, *more: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *more, chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


# Says that it has 10,000 million pixels, in a few bytes.
HUGE = png(100_000, 100_000, zlib.compress(bytes(1000)))
# As many pixels as are taken, none of which are there.
HOLLOW = png(13_000, 13_000, b"")
# Text that unfolds to 200 MiB.
TEXT = png(1, 1, zlib.compress(bytes(5)), chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(200 * MEBIBYTE), 9)))


def small() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA", (8, 8)).save(buffer, "PNG")
    return buffer.getvalue()


async def upload(pool, http, content, name="bomb.png", path="/upload/image", **fields):
    form = aiohttp.FormData()
    form.add_field("image", content, filename=name)
    for key, value in fields.items():
        form.add_field(key, value)
    async with http.post(pool.base + path, data=form) as answer:
        return answer.status


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.fixture
def grows_little():
    before = resident_bytes()
    yield
    assert resident_bytes() - before < GROWTH_MOST


async def serves_on(pool):
    async with Client.connected(pool.base) as client:
        job = await client.submit(save_graph(1))
        await client.hear_end(job)


@pytest.mark.usefixtures("grows_little")
@pytest.mark.parametrize(
    "content", [HUGE, HOLLOW, TEXT, b"", b"\x89PNG\r\n\x1a\n"], ids=["huge", "hollow", "text", "empty", "cut"]
)
async def test_pictures(pool, http, content):
    """They are kept, as ComfyUI keeps them; working on them is refused in its way, which is 500."""
    assert await upload(pool, http, content) == 200
    for query in ("preview=webp;90", "preview=jpeg;80", "channel=rgb", "channel=a"):
        async with http.get(f"{pool.base}/view?filename=bomb.png&type=input&{query}") as answer:
            assert answer.status == 500 or (content is TEXT and answer.status == 200), query
    reference = '{"filename": "bomb.png", "type": "input"}'
    assert await upload(pool, http, small(), "a.png", "/upload/mask", original_ref=reference) == 500
    assert await upload(pool, http, small(), "small.png") == 200
    reference = '{"filename": "small.png", "type": "input"}'
    assert await upload(pool, http, content, "b.png", "/upload/mask", original_ref=reference) == 500
    await serves_on(pool)


class TestCompressedBodies:
    """aiohttp unfolds request bodies; the limit holds for what comes out."""

    @pytest.mark.usefixtures("grows_little")
    async def test_a_bomb_is_413(self, impatient, http):
        bomb = gzip.compress(bytes(200 * MEBIBYTE), 6)
        assert len(bomb) < 1_000_000
        for path in ("/prompt", "/queue", "/history", "/settings", "/users", "/userdata/a.json", "/tn/whole"):
            async with http.post(f"{impatient.base}{path}", data=bomb, headers={"Content-Encoding": "gzip"}) as answer:
                assert answer.status == 413, path
        await serves_on(impatient)

    async def test_deflate_too(self, impatient, http):
        bomb = zlib.compress(bytes(100 * MEBIBYTE), 9)
        async with http.post(f"{impatient.base}/prompt", data=bomb, headers={"Content-Encoding": "deflate"}) as answer:
            assert answer.status == 413

    async def test_junk_is_refused(self, impatient, http):
        for encoding in ("gzip", "deflate"):
            async with http.post(
                f"{impatient.base}/prompt", data=b"junk" * 10, headers={"Content-Encoding": encoding}
            ) as answer:
                assert answer.status in (400, 500)
        await serves_on(impatient)

    async def test_a_form(self, impatient, http):
        bomb = gzip.compress(
            b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
            + bytes(100 * MEBIBYTE)
            + b"\r\n--x--\r\n"
        )
        headers = {"Content-Encoding": "gzip", "Content-Type": "multipart/form-data; boundary=x"}
        async with http.post(f"{impatient.base}/upload/image", data=bomb, headers=headers) as answer:
            assert answer.status == 413


async def test_too_large_a_body_is_413_before_it_is_sent(impatient, http):
    for path in ("/prompt", "/tn/whole", "/userdata/a"):
        async with http.post(f"{impatient.base}{path}", data=bytes(2_000_000)) as answer:
            assert answer.status == 413, path


async def test_too_large_an_upload_is_413(impatient, http):
    assert await upload(impatient, http, bytes(2_000_000)) == 413


async def test_a_form_of_many_parts(impatient, http):
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n'
    body = part * 15_000 + b"--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    async with http.post(f"{impatient.base}/upload/image", data=body, headers=headers) as answer:
        assert answer.status in (400, 413)  # no image in it
    await serves_on(impatient)
