"""``/view``: the pool's one address space of files.

A name leads to the caller's job's file that has it, on the runner that wrote it, or to the caller's upload; never to a
guess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import structlog
from aiohttp import hdrs, web

from gateway.access.callers import caller_of
from gateway.api import answers, contents
from gateway.api.relay import relay
from gateway.api.services import Services, services
from gateway.comfyui import names
from gateway.files import pictures
from gateway.files.named import written_last
from gateway.files.pictures import Encoded, PictureError
from gateway.storage.errors import BlobMissing
from gateway.storage.files import OutputRow, UploadRow

PASSED_ON = ("preview", "channel")  # query keys that make the runner encode the picture anew
HASH_MARK = "blake3:"  # the newest ComfyUI looks such names up among its assets, which the gateway has none of
TAG_CHARACTERS = 32  # of the content's hash, in an ETag

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Stored:
    """A file whose content is in the blob store; `size` in bytes, `modified_ms` since the epoch."""

    filename: str
    content_hash: str
    size: int
    modified_ms: int


async def view(request: web.Request) -> web.StreamResponse:
    """Serves a file (ComfyUI server.py view_image): 404 without a name or a file, 400 and 403 for paths that leave."""
    query = request.query
    if "filename" not in query or query["filename"].startswith(HASH_MARK):
        return answers.empty(404)
    bare, annotation = names.split_annotation(query["filename"])
    kind = annotation or query.get("type", "output")
    if not names.is_safe_filename(bare) or not names.is_file_type(kind):
        return answers.empty(400)
    subfolder = query.get("subfolder", "")
    if not names.is_safe_subfolder(subfolder):
        return answers.empty(403)
    rooms = services(request)
    filename = bare.rpartition("/")[2]
    found = _found(request, kind, subfolder, filename)
    if found is None:
        return answers.empty(404)
    if isinstance(found, OutputRow):
        return await _view_output(request, rooms, found)
    return await _view_stored(
        request, rooms, _Stored(found.filename, found.content_hash, found.size, found.modified_at)
    )


def _found(request: web.Request, kind: names.FileType, subfolder: str, filename: str) -> OutputRow | UploadRow | None:
    """The caller's own file. An admin is given another's too: of the ``owner`` in the query, or where one only has such
    a file and the admin has none."""
    rooms, caller = services(request), caller_of(request)
    if caller.is_admin and "owner" in request.query:
        return file_named(rooms, kind, subfolder, filename, request.query["owner"])
    own = file_named(rooms, kind, subfolder, filename, caller.owner)
    if own is not None or not caller.is_admin:
        return own
    others = ({*rooms.outputs.owners(), *rooms.uploads.owners()}) - {caller.owner}
    found = [file for owner in others if (file := file_named(rooms, kind, subfolder, filename, owner)) is not None]
    return found[0] if len(found) == 1 else None


def file_named(
    rooms: Services, kind: names.FileType, subfolder: str, filename: str, owner: str
) -> OutputRow | UploadRow | None:
    """What a safe name means: a job's file or an upload of that owner, whichever was written last."""
    folder = names.normal_subfolder(subfolder)
    return written_last(
        rooms.outputs.find(kind, folder, filename, owner), rooms.uploads.find(kind, folder, filename, owner)
    )


async def _view_output(request: web.Request, rooms: Services, row: OutputRow) -> web.StreamResponse:
    """From the archive, else from the runner that wrote it, whose own name it has there."""
    concerning = answers.concerning(row.runner, row.job_id)
    if row.content_hash is not None:
        stored = _Stored(row.filename, row.content_hash, row.size or 0, row.created_at)
        with suppress(BlobMissing):
            return await _view_stored(request, rooms, stored, concerning)
    runner = rooms.pool.get(row.runner)
    if runner is None or row.lost:
        return answers.empty(404)
    params = {"filename": row.runner_filename, "type": row.type, "subfolder": row.runner_subfolder}
    params |= {key: request.query[key] for key in PASSED_ON if key in request.query}
    told = contents.file_headers(request, row.filename)
    if _drawing(request) is not None:  # the runner encodes the picture anew
        told = {hdrs.CONTENT_DISPOSITION: contents.disposition(row.filename)}
    elif not contents.is_active(kind := contents.content_type_of(row.filename)) and kind != contents.OCTETS:
        del told[hdrs.CONTENT_TYPE]  # the runner's, of an ending that is known to be harmless
    return await relay(request, runner, "/view", params=params, answer_headers=told | concerning)


async def _view_stored(
    request: web.Request, rooms: Services, stored: _Stored, concerning: Mapping[str, str] = MappingProxyType({})
) -> web.StreamResponse:
    """The file as it is, or the picture encoded anew. Raises BlobMissing."""
    draw = _drawing(request)
    if draw is None:
        tag = f"{stored.content_hash[:TAG_CHARACTERS]}-{stored.size:x}"
        content = contents.Content(tag, stored.size, stored.modified_ms, partial(rooms.blobs.read, stored.content_hash))
        return await contents.send(request, content, {**contents.file_headers(request, stored.filename), **concerning})
    try:
        encoded = await rooms.desk.work(partial(contents.whole, rooms.blobs, stored.content_hash), draw)
    except PictureError as error:
        log.info("view.not_drawn", file=stored.filename, reason=str(error))
        return answers.failed()
    headers = {hdrs.CONTENT_DISPOSITION: contents.disposition(stored.filename), **concerning}
    return web.Response(body=encoded.body, content_type=encoded.mime, headers=headers)


def _drawing(request: web.Request) -> Callable[[bytes], Encoded] | None:
    """What is to be made of the picture; None: it is sent as it is."""
    query = request.query
    if "preview" in query:
        return partial(pictures.preview, wish=query["preview"], channel=query.get("channel", ""))
    if query.get("channel") in pictures.CHANNELS:
        return partial(pictures.channel_of, channel=query["channel"])
    return None
