"""Pictures encoded anew as /view?preview= and ?channel= give them; what is hostile ends as PictureError."""

import asyncio
import io
import struct
import zlib

import pytest
from PIL import Image

from gateway.files import pictures
from gateway.files.pictures import Desk, PictureError


def encoded(mode="RGB", size=(8, 8), color=(200, 30, 60), name="PNG"):
    buffer = io.BytesIO()
    Image.new(mode, size, color).save(buffer, name)
    return buffer.getvalue()


def huge_png(width, height):
    """A PNG that claims to be that large, and is a few bytes long."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def opened(made):
    return Image.open(io.BytesIO(made.body))


@pytest.mark.parametrize(
    ("wish", "channel", "mime"),
    [
        ("webp;90", "", "image/webp"),
        ("jpeg;80", "", "image/jpeg"),
        ("jpeg", "", "image/jpeg"),
        ("jpeg;80", "rgb", "image/jpeg"),
        ("jpeg;80", "rgba", "image/webp"),
        ("jpeg;80", "a", "image/webp"),
        ("png;80", "", "image/webp"),
        ("", "", "image/webp"),
        ("webp;high", "", "image/webp"),
    ],
)
def test_formats_of_previews(wish, channel, mime):
    made = pictures.preview(encoded("RGBA", color=(1, 2, 3, 4)), wish, channel)
    assert made.mime == mime
    assert opened(made).format == mime.rpartition("/")[2].upper()


def test_quality_counts():
    noise = Image.effect_noise((64, 64), 90)
    buffer = io.BytesIO()
    noise.save(buffer, "PNG")
    sizes = [len(pictures.preview(buffer.getvalue(), f"jpeg;{quality}").body) for quality in (10, 90)]
    assert sizes[0] < sizes[1]
    assert pictures.preview(buffer.getvalue(), "jpeg") == pictures.preview(buffer.getvalue(), "jpeg;90")


def test_transparency_of_previews():
    content = encoded("RGBA", color=(1, 2, 3, 4))
    assert opened(pictures.preview(content, "webp;90")).mode == "RGBA"
    assert opened(pictures.preview(content, "webp;90", "rgb")).mode == "RGB"


@pytest.mark.parametrize(
    ("mode", "color"), [("RGBA", (9, 8, 7, 6)), ("RGB", (9, 8, 7)), ("L", 9), ("P", 0), ("I;16", 9)]
)
def test_channels(mode, color):
    content = encoded(mode, color=color)
    rgb, alpha = (opened(pictures.channel_of(content, channel)) for channel in ("rgb", "a"))
    assert (rgb.format, rgb.mode, alpha.mode) == ("PNG", "RGB", "RGBA")
    assert alpha.getpixel((0, 0)) == (0, 0, 0, 6 if mode == "RGBA" else 255)
    if mode.startswith("RGB"):
        assert rgb.getpixel((0, 0)) == (9, 8, 7)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no picture",
        b"\x89PNG\r\n\x1a\n",
        encoded()[:45],
        encoded(name="JPEG")[:100],
        encoded(name="GIF")[:20],
        huge_png(20_000, 20_000),
        huge_png(2**31 - 1, 2**31 - 1),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n",
    ],
)
def test_hostile_input(content):
    with pytest.raises(PictureError):
        pictures.preview(content, "webp;90")
    with pytest.raises(PictureError):
        pictures.channel_of(content, "rgb")


@pytest.mark.parametrize("wish", ["webp;1000", "jpeg;" + "9" * 5000, "jpeg;²"])
def test_impossible_qualities(wish):
    with pytest.raises(PictureError):
        pictures.preview(encoded(), wish)


async def test_only_a_few_are_worked_on_at_once():
    desk = Desk(at_once=2)
    reading, go = [], asyncio.Event()

    async def read():
        reading.append(1)
        await go.wait()
        return b"abc"

    work = [asyncio.create_task(desk.work(read, len)) for _ in range(5)]
    async with asyncio.timeout(5):
        while len(reading) < 2:
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(reading) == 2
        go.set()
        assert await asyncio.gather(*work) == [3] * 5


async def test_a_fault_frees_the_place():
    desk = Desk(at_once=1)

    async def read():
        return b"no picture"

    for _ in range(3):
        with pytest.raises(PictureError):
            await desk.work(read, lambda content: pictures.preview(content, "webp"))
