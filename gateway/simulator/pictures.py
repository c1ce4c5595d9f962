"""PNG and JPEG bytes for the symbols of `values`: drawn so that a person can tell them apart, or flat and cheap."""

import asyncio
import colorsys
import hashlib
import io
import struct
import zlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from gateway.simulator.values import RGB, ImageValue

_PNG_HEAD = 33  # bytes: signature and IHDR chunk, after which text chunks may stand
_INLINE_PIXELS = 128 * 128  # drawing more than that happens in a thread
_JPEG_QUALITY = 95  # as ComfyUI's previews


class Pictures:
    """Makes the pictures of one runner."""

    def __init__(self, runner: str, *, draw: bool, preview_size: int) -> None:
        self._runner = runner
        self._draw = draw
        self._preview_size = preview_size

    async def png(self, image: ImageValue, index: int, texts: Mapping[str, str]) -> bytes:
        """The picture at `index` of a batch as a PNG of the value's size, with tEXt chunks (Latin-1 values)."""
        if image.source is not None:
            plain = await asyncio.to_thread(_reencoded, image.source, image.inverted)
        else:
            color = self._color(image, index)
            if not self._draw:
                plain = flat_png(image.width, image.height, color, color_of(f"{image.seed} {index} {self._runner}"))
            else:
                lines = tuple(self._lines(image, index))
                if image.width * image.height <= _INLINE_PIXELS:
                    plain = _drawn(image.width, image.height, color, lines)
                else:
                    plain = await asyncio.to_thread(_drawn, image.width, image.height, color, lines)
        return with_texts(plain, texts)

    def preview(self, step: int, seed: int) -> bytes | None:
        """A JPEG for one step of a sampler; None if the runner makes no previews."""
        if self._preview_size <= 0:
            return None
        size = self._preview_size if self._draw else 16
        return _flat_jpeg(size, (step * 37 % 255, (seed % 255) if self._draw else 0, 80))

    def _color(self, image: ImageValue, index: int) -> RGB:
        color = image.color or color_of(f"{self._runner} {image.seed} {index}")
        if image.inverted:
            return (255 - color[0], 255 - color[1], 255 - color[2])
        return color

    def _lines(self, image: ImageValue, index: int) -> Iterable[str]:
        if image.seed is not None:
            yield f"seed {image.seed}"
        yield self._runner
        if image.title:
            yield image.title
        if image.batch > 1:
            yield f"#{index + 1}"


def color_of(text: str) -> RGB:
    """A colour that differs, as well as colours can, from those of other texts."""
    digest = hashlib.blake2b(text.encode(), digest_size=4).digest()
    red, green, blue = colorsys.hls_to_rgb(
        int.from_bytes(digest[:2]) / 65536, 0.35 + digest[2] / 850, 0.45 + digest[3] / 510
    )
    return (int(red * 255), int(green * 255), int(blue * 255))


def with_texts(png: bytes, texts: Mapping[str, str]) -> bytes:
    """The PNG with one tEXt chunk per text, before its pixels, as Pillow writes ComfyUI's."""
    chunks = [_chunk(b"tEXt", name.encode("latin-1") + b"\0" + text.encode("latin-1")) for name, text in texts.items()]
    return b"".join((png[:_PNG_HEAD], *chunks, png[_PNG_HEAD:]))


def flat_png(width: int, height: int, color: RGB, unused: RGB = (0, 0, 0)) -> bytes:
    """A PNG of one colour: one bit per pixel and a palette, so that only the palette is made anew.

    `unused` is the palette's second colour: no pixel has it, but it makes files differ whose colours are alike.
    """
    header = struct.pack(">IIBBBBB", width, height, 1, 3, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", header),
            _chunk(b"PLTE", bytes(color + unused)),
            _zero_pixels(width, height),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@lru_cache(maxsize=64)
def _zero_pixels(width: int, height: int) -> bytes:
    return _chunk(b"IDAT", zlib.compress(bytes(height * (1 + (width + 7) // 8))))


@lru_cache(maxsize=32)
def _drawn(width: int, height: int, color: RGB, lines: tuple[str, ...]) -> bytes:
    image = Image.new("RGB", (width, height), color)
    draw = ImageDraw.Draw(image)
    ink = (0, 0, 0) if sum(color) > 380 else (255, 255, 255)
    draw.rectangle((0, 0, width - 1, height - 1), outline=ink, width=max(1, min(width, height) // 64))
    line_height = height / (len(lines) + 1)
    for number, line in enumerate(lines):
        size = max(6.0, min(line_height * 0.8, width * 1.6 / max(1, len(line))))
        draw.text(
            (width / 2, line_height * (number + 1)),
            line,
            fill=ink,
            font=ImageFont.load_default(size=size),
            anchor="mm",
        )
    return _encoded(image, "PNG", compress_level=1)


def _reencoded(source: Path, inverted: bool) -> bytes:
    with Image.open(source) as opened:
        image = (ImageOps.exif_transpose(opened) or opened).convert("RGB")
    return _encoded(ImageOps.invert(image) if inverted else image, "PNG", compress_level=4)


@lru_cache(maxsize=1024)
def _flat_jpeg(size: int, color: RGB) -> bytes:
    return _encoded(Image.new("RGB", (size, size), color), "JPEG", quality=_JPEG_QUALITY)


def _encoded(image: Image.Image, file_format: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=file_format, **options)
    return buffer.getvalue()


def size_of(source: Path) -> tuple[int, int]:
    """Width and height of a picture in a file, upright.

    Raises:
        OSError: not a picture.
    """
    with Image.open(source) as image:
        upright = ImageOps.exif_transpose(image) or image
        return upright.size
