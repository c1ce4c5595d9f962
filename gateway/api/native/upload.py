"""``/upload/image`` and ``/upload/mask``: kept once by the gateway, and pushed to the runners that need it."""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import IO, TypedDict

import structlog
from aiohttp import web
from aiohttp.web_request import FileField
from blake3 import blake3
from multidict import MultiDictProxy

from gateway.access.callers import caller_of
from gateway.api import answers, contents
from gateway.api.native.view import file_named
from gateway.api.services import Services, services
from gateway.comfyui import errors, json_text, names
from gateway.files.masks import masked
from gateway.files.pictures import PictureError
from gateway.files.uploads import StorageFull, UploadRefused
from gateway.runners.errors import RunnerError
from gateway.storage.files import OutputRow, UploadRow

CHUNK_BYTES = 1024 * 1024
SLOWEST_BYTES_PER_SECOND = 16 * 1024  # of an upload; past the time that it then takes, 408

Fields = MultiDictProxy[str | bytes | bytearray | FileField]

log = structlog.get_logger(__name__)


class _Place(TypedDict):
    """Where the form wants the file; the keywords of Uploads."""

    filename: str
    subfolder: str
    type: str | None
    overwrite: str | None
    owner: str


@dataclass(frozen=True, slots=True)
class _Form:
    """What the upload routes read."""

    file: IO[bytes]
    place: _Place
    original_ref: str | None

    def told(self, name: str) -> web.Response:
        """The answer: the name that was given, and the rest as it was asked for."""
        path = posixpath.dirname(self.place["filename"])
        subfolder = posixpath.join(self.place["subfolder"], path) if path else self.place["subfolder"]
        return answers.json({"name": name, "subfolder": subfolder, "type": self.place["type"] or "input"})


async def upload_image(request: web.Request) -> web.Response:
    """Keeps an upload under ComfyUI's naming rules (ComfyUI server.py image_upload)."""
    try:
        form = await _form(request)
        row = await services(request).uploads.save(_chunks(form.file), **form.place, max_bytes=request.client_max_size)
    except UploadRefused as refused:
        return _refusal(refused)
    return form.told(row.filename)


async def upload_mask(request: web.Request) -> web.Response:
    """Keeps an earlier picture with the transparency of the upload (ComfyUI server.py upload_mask).

    Without an earlier picture of that name, 200 is answered and nothing is kept; what is no picture is 500.
    """
    rooms = services(request)
    try:
        form = await _form(request)
        sent = await _hash(form.file)
        name, known = rooms.uploads.name_for(sent, **form.place)
        if known:
            return form.told(name)
        content = await _masked(rooms, form, name)
        if content is not None:
            row = await rooms.uploads.save(
                _once(content), **form.place, max_bytes=request.client_max_size, same_as=sent
            )
            name = row.filename
    except UploadRefused as refused:
        return _refusal(refused)
    except (PictureError, _Malformed) as error:
        log.info("upload.not_masked", reason=str(error))
        return answers.failed()
    except RunnerError as error:
        return web.Response(status=502, text=f"runner {error.runner} did not give the picture: {error.reason}")
    return form.told(name)


class _Malformed(Exception):
    """An `original_ref` over which ComfyUI falls."""


async def _masked(rooms: Services, form: _Form, name: str) -> bytes | None:
    """The original with the mask; None where there is none. Raises PictureError, RunnerError, _Malformed."""
    content_hash = await _original(rooms, form)
    if content_hash is None:
        return None

    async def read() -> tuple[bytes, bytes]:
        return await contents.whole(rooms.blobs, content_hash), await asyncio.to_thread(form.file.read)

    return await rooms.desk.work(read, lambda both: masked(*both, name))


async def _hash(file: IO[bytes]) -> str:
    hasher = blake3()
    async for chunk in _chunks(file):
        hasher.update(chunk)
    file.seek(0)
    return hasher.hexdigest()


async def _original(rooms: Services, form: _Form) -> str | None:
    """The hash of the picture that `original_ref` names, whose content is in the store by then."""
    found = _named_original(rooms, form)
    if isinstance(found, OutputRow):
        return await rooms.archive.ensure(found)
    return found.content_hash if found else None


def _named_original(rooms: Services, form: _Form) -> OutputRow | UploadRow | None:
    """What `original_ref` names, a path in it included. Raises _Malformed."""
    try:
        reference = json_text.loads(form.original_ref or "")
        wanted, subfolder = reference["filename"], reference.get("subfolder", "")
        bare, annotation = names.split_annotation(wanted)
        kind = annotation or reference.get("type", "output")
        path, _, filename = bare.rpartition("/")
        folder = posixpath.join(subfolder, path)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _Malformed(f"original_ref: {error!r}") from error
    if not names.is_file_type(kind) or not names.is_safe_filename(bare) or not names.is_safe_subfolder(folder):
        return None
    return file_named(rooms, kind, folder, filename, form.place["owner"])


async def _form(request: web.Request) -> _Form:
    """Raises UploadRefused as ComfyUI does, in its order: 500 for a bad type, then 400 and 500 for what is no file."""
    body_seconds = services(request).config.server.body_seconds
    size = request.client_max_size if request.content_length is None else request.content_length
    async with answers.in_time(body_seconds + size / SLOWEST_BYTES_PER_SECOND):
        form = await _parsed(request)
    kind, image = form.get("type"), form.get("image")
    if kind is not None and not names.is_file_type(kind):
        raise UploadRefused(500, f"unknown type {kind!r}")
    if not image:
        raise UploadRefused(400, "no image")
    if not isinstance(image, FileField):
        raise UploadRefused(500, "the image is no file")
    place = _Place(
        filename=image.filename,
        subfolder=_text(form.get("subfolder")) or "",
        type=kind,
        overwrite=_text(form.get("overwrite")),
        owner=caller_of(request).owner,
    )
    return _Form(image.file, place, _text(form.get("original_ref")))


async def _parsed(request: web.Request) -> Fields:
    try:
        return await request.post()
    except (web.HTTPException, ConnectionError):
        raise
    except Exception as error:
        # aiohttp's parser fails in many ways on what is no form: ValueError, IndexError, LookupError, zlib.error …
        raise UploadRefused(400, f"not a form: {error!r}") from error


def _refusal(refused: UploadRefused) -> web.Response:
    if isinstance(refused, StorageFull):
        return answers.json(errors.storage_full(refused.stored, refused.most, refused.size), status=refused.status)
    return answers.failed() if refused.status == 500 else answers.empty(refused.status)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
        yield chunk
