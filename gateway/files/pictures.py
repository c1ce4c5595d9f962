"""Pictures encoded anew: previews and single channels, as `/view` offers them. Which file it is, is not known here.

Hostile input is expected: only raster formats that Pillow decodes by itself are read, up to a number of pixels.
"""

import asyncio
import io
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from PIL import Image

PIXELS_MOST: Final = 178_956_970  # where Pillow itself, and so ComfyUI, refuses
BYTES_MOST: Final = 256 * 1024 * 1024  # of a file that is to be read whole
AT_ONCE: Final = 2
QUALITY: Final = 90  # where a preview names none
PREVIEW_FORMATS: Final = ("webp", "jpeg")
CHANNELS: Final = ("rgb", "a")  # any other value of `channel` gives the file as it is

# Not EPS and its like, which Pillow hands to other programs.
_READABLE: Final = (
    "PNG JPEG MPO WEBP GIF BMP DIB TIFF AVIF ICO PPM TGA JPEG2000 PSD DDS QOI PCX SGI ICNS".split()  # noqa: SIM905
)

ContentT = TypeVar("ContentT")
ResultT = TypeVar("ResultT")


class PictureError(Exception):
    """Not a picture, one that is too large, or one that cannot be written as asked."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A picture's bytes and their MIME type."""

    body: bytes
    mime: str


def preview(content: bytes, wish: str, channel: str = "") -> Encoded:
    """A picture in the format and quality of `/view?preview=`: `webp;90`, `jpeg;80`; what isn't said is WebP and 90.

    With an `a` in `channel` it is WebP, which has transparency. Source: ComfyUI server.py view_image. Raises
    PictureError.
    """
    parts = wish.split(";")
    name = parts[0] if parts[0] in PREVIEW_FORMATS and "a" not in channel else "webp"
    with opened(content) as image:
        quality = int(parts[-1]) if parts[-1].isdigit() else QUALITY
        drawn = image.convert("RGB") if name == "jpeg" or channel == "rgb" else image
        return Encoded(_written(drawn, name, quality=quality), f"image/{name}")


def channel_of(content: bytes, channel: str) -> Encoded:
    """`rgb`: a picture without its transparency; `a`: its transparency alone, over black. Both as PNG, without text.

    Source: ComfyUI server.py view_image. Raises PictureError.
    """
    with opened(content) as image:
        if channel == "rgb":
            drawn = Image.merge("RGB", image.split()[:3]) if image.mode == "RGBA" else image.convert("RGB")
        else:
            alpha = image.getchannel("A") if image.mode == "RGBA" else Image.new("L", image.size, 255)
            drawn = Image.new("RGBA", image.size)
            drawn.putalpha(alpha)
        return Encoded(_written(drawn, "png"), "image/png")


class Desk:
    """Where pictures are worked on: in threads, and only a few at a time, since a large one takes much memory."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._free = asyncio.Semaphore(at_once)

    async def work(self, read: Callable[[], Awaitable[ContentT]], draw: Callable[[ContentT], ResultT]) -> ResultT:
        """What `draw` makes of the content that `read` gives, which is asked for no earlier than there is room for it.

        Raises what either raises.
        """
        async with self._free:
            content = await read()
            return await asyncio.to_thread(draw, content)


@contextmanager
def opened(content: bytes) -> Iterator[Image.Image]:
    """A picture to work with; whatever fails on it inside of the block is a PictureError."""
    try:
        Image.init()
        with Image.open(io.BytesIO(content), formats=[name for name in _READABLE if name in Image.OPEN]) as image:
            if image.width * image.height > PIXELS_MOST:
                raise PictureError(f"{image.width} × {image.height} pixels are too many")
            yield image
    except PictureError:
        raise
    except Exception as error:
        # Decoders fail in many ways on what they were not made for: SyntaxError, struct.error, EOFError, OSError …
        raise PictureError(f"{type(error).__name__}: {error}") from error


def _written(image: Image.Image, name: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=name, **options)
    return buffer.getvalue()
