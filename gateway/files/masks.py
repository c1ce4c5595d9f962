"""A mask drawn over a picture: the mask's transparency in the picture, as `/upload/mask` makes it. No names, no I/O."""

import io
import posixpath

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gateway.files.pictures import PictureError, opened

COMPRESS_LEVEL = 4  # of PNG, ComfyUI's own


def masked(original: bytes, mask: bytes, filename: str) -> bytes:
    """The original with the alpha channel of the mask, in the format that the name's ending tells.

    A PNG's text (the workflow) stays. Source: ComfyUI server.py upload_mask. Raises PictureError, also where the two
    differ in size or the format has no transparency.
    """
    with opened(original) as picture, opened(mask) as drawn:
        text = _text_of(picture)
        result = picture.convert("RGBA")
        if drawn.size != result.size:
            raise PictureError(f"the mask has {drawn.size} pixels, the picture {result.size}")
        result.putalpha(drawn.convert("RGBA").getchannel("A"))
        buffer = io.BytesIO()
        result.save(buffer, format=_format_of(filename), compress_level=COMPRESS_LEVEL, pnginfo=text)
        return buffer.getvalue()


def _text_of(picture: Image.Image) -> PngInfo:
    info = PngInfo()
    for name, text in getattr(picture, "text", {}).items():
        info.add_text(name, text)
    return info


def _format_of(filename: str) -> str:
    ending = posixpath.splitext(filename)[1].lower()
    known = Image.registered_extensions().get(ending)
    if known is None:
        raise PictureError(f"{ending or 'a name without an ending'} tells no picture format")
    return known
