"""``POST /upload/image``: kept once by the gateway, and pushed to the runners that need it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import IO

from aiohttp import web
from aiohttp.web_request import FileField

from gateway.access.callers import caller_of
from gateway.api import answers
from gateway.api.services import services
from gateway.files.uploads import UploadRefused

CHUNK_BYTES = 1024 * 1024


async def upload_image(request: web.Request) -> web.Response:
    """Keeps an upload under ComfyUI's naming rules (ComfyUI server.py image_upload)."""
    if not request.content_type.startswith("multipart/"):
        return answers.empty(400)
    form = await request.post()
    image = form.get("image")
    if not isinstance(image, FileField):
        return answers.empty(400)
    if not image.filename:
        return answers.empty(400)
    rooms = services(request)
    try:
        row = await rooms.uploads.save(
            _chunks(image.file),
            filename=image.filename,
            subfolder=_text(form.get("subfolder")) or "",
            type=_text(form.get("type")),
            overwrite=_text(form.get("overwrite")),
            owner=caller_of(request).owner,
            max_bytes=rooms.config.server.max_upload_size,
        )
    except UploadRefused as refused:
        if refused.status == 500:
            return answers.failed()
        return answers.empty(refused.status)
    return answers.json({"name": row.filename, "subfolder": row.subfolder, "type": row.type})


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
        yield chunk
