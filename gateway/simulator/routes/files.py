"""Files: /upload/image, /upload/mask, /view, /view_metadata (ComfyUI server.py)."""

import io
import json
import mimetypes
from pathlib import Path

from aiohttp import web
from multidict import MultiDictProxy
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gateway.comfyui import names
from gateway.simulator.folders import FILE_TYPES, Folders, PathEscapes, inside, split_annotation
from gateway.simulator.http import json_response, state_of

Form = MultiDictProxy[str | bytes | bytearray | web.FileField]

ACTIVE_TYPES = ("text/html", "text/javascript", "application/javascript", "text/css", "image/svg+xml")
"""What a browser would run, which newer servers only give as attachments."""


class _Refused(Exception):
    """The request ends with this status and no body."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


async def upload_image(request: web.Request) -> web.Response:
    """Take a file in, under another name if that one is taken by other content."""
    form = await request.post()
    try:
        image = _image(form)
        content = image.file.read()
        return json_response(_stored(state_of(request).folders, form, image.filename, content, content))
    except _Refused as refused:
        return web.Response(status=refused.status)


async def upload_mask(request: web.Request) -> web.Response:
    """Take a file in as the alpha of another; if that other one is missing nothing is written, as in ComfyUI."""
    form = await request.post()
    folders = state_of(request).folders
    try:
        image = _image(form)
        mask = image.file.read()
        content = _masked(folders, form, image.filename, mask)
        return json_response(_stored(folders, form, image.filename, mask, content))
    except _Refused as refused:
        return web.Response(status=refused.status)


def _image(form: Form) -> web.FileField:
    """The file; ValueError for what lets ComfyUI fall over: a bad type, an image that is text."""
    file_type = _text(form, "type", "input")
    if file_type not in FILE_TYPES:
        raise ValueError(f"no such type: {file_type}")
    image = form.get("image")
    if not image:
        raise _Refused(400)
    if not isinstance(image, web.FileField):
        raise ValueError("the image is no file")
    return image


def _text(form: Form, name: str, default: str = "") -> str:
    value = form.get(name, default)
    return value if isinstance(value, str) else default


def _stored(folders: Folders, form: Form, filename: str, sent: bytes, content: bytes | None) -> dict[str, str]:
    """Write `content` as ComfyUI's image_upload does; `sent` is what is compared with files that are there."""
    file_type = _text(form, "type", "input")
    subfolder = _text(form, "subfolder")
    root = folders.base / file_type
    try:
        path = inside(root, f"{subfolder}/{filename}" if subfolder else filename)
    except PathEscapes:
        raise _Refused(400) from None
    path.parent.mkdir(parents=True, exist_ok=True)
    if _text(form, "overwrite") not in ("true", "1"):

        def taken(name: str) -> bool:
            return path.with_name(name).exists() and path.with_name(name).read_bytes() != sent

        path = path.with_name(names.deduplicated(path.name, taken))
    if content is not None:
        path.write_bytes(content)
    return {"name": path.name, "subfolder": subfolder, "type": file_type}


def _masked(folders: Folders, form: Form, filename: str, mask: bytes) -> bytes | None:
    """The original with the mask as its alpha; None where there is no original, or none that may be named."""
    original_ref = json.loads(_text(form, "original_ref"))
    wanted, file_type, subfolder = (
        original_ref["filename"],
        original_ref.get("type", "output"),
        original_ref.get("subfolder", ""),
    )
    try:
        original = _located(folders, wanted, file_type, str(Path(subfolder, split_annotation(wanted)[0]).parent))
    except _Refused:
        return None
    if not original.is_file():
        return None
    with Image.open(original) as opened, Image.open(io.BytesIO(mask)) as alpha:
        metadata = PngInfo()
        for name, text in getattr(opened, "text", {}).items():
            metadata.add_text(name, text)
        image = opened.convert("RGBA")
        image.putalpha(alpha.convert("RGBA").getchannel("A"))
    buffer = io.BytesIO()
    file_format = Image.registered_extensions()[Path(filename).suffix.lower()]
    image.save(buffer, format=file_format, compress_level=4, pnginfo=metadata)
    return buffer.getvalue()


def _located(folders: Folders, name: str, file_type: str, subfolder: str | None) -> Path:
    """The file that /view and /upload/mask name; refuses as they do."""
    filename, annotated = split_annotation(name)
    if not filename or filename[0] == "/" or ".." in filename:
        raise _Refused(400)
    root = folders.of_type(annotated or file_type)
    if root is None:
        raise _Refused(400)
    if subfolder is not None:
        try:
            root = inside(root, subfolder)
        except PathEscapes:
            raise _Refused(403) from None
    return root / Path(filename).name


async def view(request: web.Request) -> web.StreamResponse:
    """A file as it is, or a preview or channel of a picture."""
    state = state_of(request)
    query = request.query
    if "filename" not in query or query["filename"].startswith("blake3:"):
        return web.Response(status=404)
    try:
        path = _located(state.folders, query["filename"], query.get("type", "output"), query.get("subfolder"))
    except _Refused as refused:
        return web.Response(status=refused.status)
    if not path.is_file():
        return web.Response(status=404)
    if "preview" in query:
        return _preview(path, query["preview"], query.get("channel", ""))
    channel = query.get("channel", "rgba")
    if channel in ("rgb", "a"):
        return _channel(path, channel)
    return _whole(request, path, nosniff=state.personality.nosniff)


def _whole(request: web.Request, path: Path, *, nosniff: bool) -> web.FileResponse:
    content_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    disposition = f'filename="{path.name}"'
    headers = {}
    if nosniff:
        headers["X-Content-Type-Options"] = "nosniff"
        if content_type in ACTIVE_TYPES:
            headers |= {"Vary": "Sec-Fetch-Dest", "Cache-Control": "no-store"}
            if content_type != "image/svg+xml" or request.headers.get("Sec-Fetch-Dest") != "image":
                content_type, disposition = "application/octet-stream", f"attachment; {disposition}"
    headers |= {"Content-Disposition": disposition, "Content-Type": content_type}
    return web.FileResponse(path, headers=headers)


def _preview(path: Path, wish: str, channel: str) -> web.Response:
    """`wish` is such as "webp;90": format and quality."""
    parts = wish.split(";")
    image_format = parts[0] if parts[0] in ("webp", "jpeg") and "a" not in channel else "webp"
    quality = int(parts[-1]) if parts[-1].isdigit() else 90
    buffer = io.BytesIO()
    with Image.open(path) as opened:
        image = opened.convert("RGB") if image_format == "jpeg" or channel == "rgb" else opened
        image.save(buffer, format=image_format, quality=quality)
    return _image_response(path, buffer, f"image/{image_format}")


def _channel(path: Path, channel: str) -> web.Response:
    buffer = io.BytesIO()
    with Image.open(path) as opened:
        if channel == "rgb":
            image = opened.convert("RGB")
        else:
            alpha = opened.getchannel("A") if opened.mode == "RGBA" else Image.new("L", opened.size, 255)
            image = Image.new("RGBA", opened.size)
            image.putalpha(alpha)
    image.save(buffer, format="PNG")
    return _image_response(path, buffer, "image/png")


def _image_response(path: Path, buffer: io.BytesIO, content_type: str) -> web.Response:
    headers = {"Content-Disposition": f'filename="{path.name}"'}
    return web.Response(body=buffer.getvalue(), content_type=content_type, headers=headers)


async def view_metadata(request: web.Request) -> web.Response:
    """Metadata of a model file; the simulated ones have none, real ones in the folders are not read."""
    return web.Response(status=404)


ROUTES = (
    web.post("/upload/image", upload_image),
    web.post("/upload/mask", upload_mask),
    web.get("/view", view),
    web.get("/view_metadata/{folder_name}", view_metadata),
)
