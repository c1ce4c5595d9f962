"""Contents from the blob store as HTTP wants them: conditions, ranges, and no file that a browser would run.

Rules: aiohttp's FileResponse, with which ComfyUI serves its folders.
"""

from __future__ import annotations

import mimetypes
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from aiohttp import ETag, hdrs, web

from gateway.files.pictures import BYTES_MOST, PictureError
from gateway.storage.blobs import BlobStore

Read = Callable[[int, int], Awaitable[AsyncIterator[bytes]]]

_NOSNIFF = {"X-Content-Type-Options": "nosniff"}
OCTETS = "application/octet-stream"
_SVG = "image/svg+xml"
# ComfyUI folder_paths.is_dangerous_content_type; any dialect of XML comes on top.
_ACTIVE = frozenset(
    {
        "text/html",
        "text/html-sandboxed",
        "text/javascript",
        "application/javascript",
        "application/x-javascript",
        "application/ecmascript",
        "text/css",
        "message/rfc822",
    }
)
_TYPES = mimetypes.MimeTypes()
for _ending, _type in (
    (".webp", "image/webp"),
    (".svg", _SVG),
    (".avif", "image/avif"),
    (".xhtml", "application/xhtml+xml"),
    (".xht", "application/xhtml+xml"),
    (".shtml", "text/html"),
):
    _TYPES.add_type(_type, _ending)


@dataclass(frozen=True, slots=True)
class Content:
    """What is to be sent: `tag` changes with the bytes, `size` is theirs, `modified_ms` since the epoch."""

    tag: str
    size: int
    modified_ms: int
    read: Read


async def whole(blobs: BlobStore, content_hash: str) -> bytes:
    """A content in one piece, to work on. Raises BlobMissing, and PictureError past `pictures.BYTES_MOST`."""
    size = await blobs.size(content_hash)
    if size > BYTES_MOST:
        raise PictureError(f"{size} bytes are too many")
    return b"".join([chunk async for chunk in await blobs.read(content_hash)])


def content_type_of(filename: str) -> str:
    """The MIME type that a name tells."""
    return _TYPES.guess_type(filename)[0] or OCTETS


def is_active(content_type: str) -> bool:
    """Whether a browser may run it as part of this site (ComfyUI folder_paths.is_dangerous_content_type)."""
    return content_type in _ACTIVE or content_type.endswith(("+xml", "/xml"))


def disposition(filename: str, *, attachment: bool = False) -> str:
    """A Content-Disposition whose quoted name cannot break out of its quotes."""
    quoted = filename.replace("\\", "\\\\").replace('"', '\\"')
    return f'attachment; filename="{quoted}"' if attachment else f'filename="{quoted}"'


def file_headers(request: web.Request, filename: str) -> dict[str, str]:
    """Type and disposition of a file: what a browser would run is only given as a download (ComfyUI 0.33 view_image).

    An SVG in an image element runs nothing, so that it is shown there; browsers tell by `Sec-Fetch-Dest`.
    """
    content_type = content_type_of(filename)
    if not is_active(content_type):
        return {hdrs.CONTENT_TYPE: content_type, hdrs.CONTENT_DISPOSITION: disposition(filename), **_NOSNIFF}
    shown = content_type == _SVG and request.headers.get("Sec-Fetch-Dest") == "image"
    return {
        hdrs.CONTENT_TYPE: content_type if shown else OCTETS,
        hdrs.CONTENT_DISPOSITION: disposition(filename, attachment=not shown),
        hdrs.VARY: "Sec-Fetch-Dest",
        hdrs.CACHE_CONTROL: "no-store",
        **_NOSNIFF,
    }


async def send(request: web.Request, content: Content, headers: dict[str, str]) -> web.StreamResponse:
    """The content, a range of it (206, 416), or word that the client has it already (304) or has another one (412).

    Raises whatever `content.read` raises, before anything is sent.
    """
    validators = {
        hdrs.ETAG: f'"{content.tag}"',
        hdrs.LAST_MODIFIED: format_datetime(_modified(content), usegmt=True),
    }
    if _is_another(request, content):
        return web.Response(status=412, headers=headers)
    if _is_known(request, content):
        return web.Response(status=304, headers=headers | validators)
    start, end, told = 0, content.size, validators | {hdrs.ACCEPT_RANGES: "bytes"}
    ranged = _range_counts(request, content)
    if ranged:
        part = _range(request, content.size)
        if part is None:
            return web.Response(status=416, headers=headers | {hdrs.CONTENT_RANGE: f"bytes */{content.size}"})
        start, end = part
        told[hdrs.CONTENT_RANGE] = f"bytes {start}-{end - 1}/{content.size}"
    told[hdrs.CONTENT_LENGTH] = str(end - start)
    answer = web.StreamResponse(status=206 if ranged else 200, headers=headers | told)
    if request.method == hdrs.METH_HEAD:
        await answer.prepare(request)
        return answer
    chunks = await content.read(start, end)
    await answer.prepare(request)
    async for chunk in chunks:
        await answer.write(chunk)
    await answer.write_eof()
    return answer


def _modified(content: Content) -> datetime:
    """In whole seconds, as HTTP tells times."""
    return datetime.fromtimestamp(content.modified_ms // 1000, UTC)


def _is_another(request: web.Request, content: Content) -> bool:
    """RFC 9110, 13.1.1 and 13.1.4."""
    if request.if_match is not None:
        return not _matches(content.tag, tuple(tag for tag in request.if_match if not tag.is_weak))
    since = request.if_unmodified_since
    return since is not None and _modified(content) > since


def _is_known(request: web.Request, content: Content) -> bool:
    """RFC 9110, 13.1.2 and 13.1.3."""
    if request.if_none_match is not None:
        return _matches(content.tag, request.if_none_match)
    since = request.if_modified_since
    return since is not None and _modified(content) <= since


def _matches(tag: str, wanted: tuple[ETag, ...]) -> bool:
    return any(one.value in ("*", tag) for one in wanted)


def _range_counts(request: web.Request, content: Content) -> bool:
    """Whether there is a range, and it is one of this content (RFC 9110, 13.1.5)."""
    if hdrs.RANGE not in request.headers:
        return False
    told = request.headers.get(hdrs.IF_RANGE)
    if told is None:
        return True
    since = request.if_range
    return told == f'"{content.tag}"' or (since is not None and _modified(content) <= since)


def _range(request: web.Request, size: int) -> tuple[int, int] | None:
    """The bytes that are asked for, from and up to; None where there are none such."""
    try:
        start, end, _ = request.http_range.indices(size)
    except ValueError:
        return None
    return (start, end) if start < size else None
