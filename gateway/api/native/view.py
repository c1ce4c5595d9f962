"""``/view``: the pool's one address space of files.

A name leads to the job's file that has it, on the runner that wrote it, or to an upload; never to a guess.
"""

from __future__ import annotations

import mimetypes
from datetime import UTC, datetime
from email.utils import format_datetime

from aiohttp import hdrs, web

from gateway.access.callers import caller_of
from gateway.api import answers
from gateway.api.relay import relay
from gateway.api.services import Services, services
from gateway.comfyui import names
from gateway.files.staging import StagingError
from gateway.storage.files import OutputRow, UploadRow

PASSED_ON = ("preview", "channel")  # query keys that make the runner encode the picture anew
ACTIVE_TYPES = frozenset({"text/html", "text/javascript", "application/javascript", "text/css", "image/svg+xml"})


async def view(request: web.Request) -> web.StreamResponse:
    """Serves a file (ComfyUI server.py view_image): 404 without a name or a file, 400 and 403 for paths that leave."""
    query = request.query
    if "filename" not in query:
        return answers.empty(404)
    if not query["filename"] or not names.is_safe_filename(query["filename"]):
        return answers.empty(400)
    kind = query.get("type", "output")
    named = names.parse_annotated(query["filename"], kind if names.is_file_type(kind) else "output")
    if named.type == kind and not names.is_file_type(kind):
        return answers.empty(400)
    if not names.is_file_type(kind) and not _is_annotated(query["filename"]):
        return answers.empty(400)
    subfolder = query.get("subfolder", "")
    if not names.is_safe_subfolder(subfolder):
        return answers.empty(403)
    filename = named.filename
    rooms, owner = services(request), caller_of(request).owner
    folder = names.normal_subfolder(subfolder)
    row = rooms.outputs.find(named.type, folder, filename)
    if row is not None:
        return await _view_output(request, rooms, row)
    upload = rooms.uploads.find(named.type, folder, filename, owner)
    if upload is not None:
        return await _view_upload(request, rooms, upload)
    return answers.empty(404)


def _is_annotated(filename: str) -> bool:
    return filename.endswith(("[input]", "[output]", "[temp]"))


async def _view_output(request: web.Request, rooms: Services, row: OutputRow) -> web.StreamResponse:
    """From the runner that wrote it, under the runner's own name, told under the public one."""
    runner = rooms.pool.get(row.runner)
    if runner is None or row.lost:
        return answers.empty(404)
    params = {"filename": row.runner_filename, "type": row.type, "subfolder": row.runner_subfolder}
    params |= {key: request.query[key] for key in PASSED_ON if key in request.query}
    told = {
        hdrs.CONTENT_DISPOSITION: f'filename="{row.filename}"',
        "X-Content-Type-Options": "nosniff",
        **answers.concerning(row.runner, row.job_id),
    }
    return await relay(request, runner, "/view", params=params, answer_headers=told)


async def _view_upload(request: web.Request, rooms: Services, row: UploadRow) -> web.StreamResponse:
    """From the gateway's own store; what has to be encoded anew is left to a runner that has been given the file."""
    if any(key in request.query for key in PASSED_ON):
        runner = rooms.pool.primary
        if runner is None:
            return web.Response(status=503, text="no runner is up to encode the picture")
        try:
            place = await rooms.staging.bring(row, runner.client, str(runner.boot))
        except StagingError as error:
            return web.Response(status=502, text=str(error))
        params = {"filename": place.filename, "type": place.type, "subfolder": place.subfolder}
        params |= {key: request.query[key] for key in PASSED_ON if key in request.query}
        told = {hdrs.CONTENT_DISPOSITION: f'filename="{row.filename}"'}
        return await relay(request, runner, "/view", params=params, answer_headers=told)
    return await _send_blob(request, rooms, row)


async def _send_blob(request: web.Request, rooms: Services, row: UploadRow) -> web.StreamResponse:
    """The whole file or the range that was asked for, with an ETag that is the content's."""
    etag = f'"{row.content_hash[:32]}-{row.size:x}"'
    headers = {
        hdrs.CONTENT_DISPOSITION: f'filename="{row.filename}"',
        hdrs.ETAG: etag,
        hdrs.LAST_MODIFIED: format_datetime(datetime.fromtimestamp(row.modified_at // 1000, UTC), usegmt=True),
        hdrs.ACCEPT_RANGES: "bytes",
        hdrs.CONTENT_TYPE: _content_type(row.filename),
        "X-Content-Type-Options": "nosniff",
    }
    if headers[hdrs.CONTENT_TYPE] == "application/octet-stream":
        headers[hdrs.CONTENT_DISPOSITION] = f'attachment; filename="{row.filename}"'
    if _is_known(request, etag):
        return web.Response(status=304, headers=headers)
    start, end, status = 0, row.size, 200
    try:
        wanted = request.http_range
    except ValueError:
        wanted = slice(row.size + 1, None)
    if wanted.start is not None or wanted.stop is not None:
        start, end, _ = wanted.indices(row.size)
        if start >= end:
            return web.Response(status=416, headers={hdrs.CONTENT_RANGE: f"bytes */{row.size}"})
        status = 206
        headers[hdrs.CONTENT_RANGE] = f"bytes {start}-{end - 1}/{row.size}"
    headers[hdrs.CONTENT_LENGTH] = str(end - start)
    answer = web.StreamResponse(status=status, headers=headers)
    await answer.prepare(request)
    if request.method != hdrs.METH_HEAD:
        async for chunk in await rooms.uploads.open(row, start, end):
            await answer.write(chunk)
    await answer.write_eof()
    return answer


def _is_known(request: web.Request, etag: str) -> bool:
    return any(tag.value in ("*", etag.strip('"')) for tag in request.if_none_match or ())


def _content_type(filename: str) -> str:
    """By the name; what a browser would run as part of this site is neutralised, as in newer ComfyUI."""
    guessed = mimetypes.guess_type(filename)[0] or "application/octet-stream"
    return "application/octet-stream" if guessed in ACTIVE_TYPES or guessed.endswith("xml") else guessed
