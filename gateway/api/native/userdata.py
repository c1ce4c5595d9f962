"""``/userdata`` and ``/v2/userdata``: thin over the files that the gateway keeps of its users.

A file's name is one segment of the path, with ``%2F`` inside: routes match the path as it was sent, and what has more
segments is no file. Rules: ComfyUI app/user_manager.py.
"""

from __future__ import annotations

import mimetypes
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import wraps

from aiohttp import hdrs, web

from gateway.api import answers, contents
from gateway.api.native.users import user_files
from gateway.api.services import services
from gateway.files.user_files import UserDataRefused
from gateway.files.users import UnknownUser

CHUNK_BYTES = 64 * 1024
USER_CSS = "user.css"  # the frontend links to it, so that it is the one file that is shown

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _refusing(handler: Handler) -> Handler:
    """Tells refusals as ComfyUI does, and keeps browsers from keeping what ComfyUI keeps them from."""

    @wraps(handler)
    async def told(request: web.Request) -> web.StreamResponse:
        try:
            answer = await handler(request)
        except UnknownUser:
            answer = answers.failed()
        except UserDataRefused as refused:
            answer = _refusal(refused)
        kept = _how_long_kept(request.path)
        if kept is not None:
            answer.headers[hdrs.CACHE_CONTROL] = kept
        return answer

    return told


def _refusal(refused: UserDataRefused) -> web.Response:
    if refused.status == 500:
        return answers.failed()
    if refused.text:
        return web.Response(status=refused.status, text=refused.text)
    return web.Response(status=refused.status, reason=refused.reason)


def _how_long_kept(path: str) -> str | None:
    """ComfyUI middleware/cache_middleware.py; but the day that it gives to pictures would hide a change of the user's,
    and let shared caches keep one user's file for all."""
    name = path.rpartition("/")[2]
    if name.endswith((".js", ".css")) or (name.startswith("index") and name.endswith(".json")):
        return "no-store"
    return "no-cache" if contents.content_type_of(name).startswith("image/") else None


@_refusing
async def list_userdata(request: web.Request) -> web.StreamResponse:
    """The files of a folder."""
    directory = request.query.get("dir", "")
    if not directory:
        return web.Response(status=400, text="Directory not provided")
    files = await user_files(request)
    flags = {name: _is_true(request, name) for name in ("recurse", "full_info", "split")}
    return answers.json(await services(request).userdata.call(files.listing, directory, **flags))


@_refusing
async def list_userdata_v2(request: web.Request) -> web.StreamResponse:
    """Folders and files below a path."""
    try:
        files = await user_files(request)
    except UnknownUser:
        return web.Response(status=403, text="Invalid user specified in request")
    return answers.json(await services(request).userdata.call(files.tree, request.query.get("path", "")))


@_refusing
async def get_userdata(request: web.Request) -> web.StreamResponse:
    """A file, to be downloaded: what users put there must not run as part of this site."""
    files = await user_files(request)
    path = await services(request).userdata.call(files.existing, request.match_info["file"])
    content_type = mimetypes.guess_type(path)[0] or "application/octet-stream"
    shown = path == files.root / USER_CSS
    if shown:
        content_type = "text/css"
    elif contents.is_active(content_type):
        content_type = "application/octet-stream"
    headers = {
        hdrs.CONTENT_TYPE: content_type,
        hdrs.CONTENT_DISPOSITION: "inline" if shown else "attachment",
        "X-Content-Type-Options": "nosniff",
    }
    return web.FileResponse(path, headers=headers)


@_refusing
async def post_userdata(request: web.Request) -> web.StreamResponse:
    """Writes a file."""
    told = await services(request).userdata.save(
        await user_files(request),
        request.match_info["file"],
        _body(request),
        overwrite=_may_overwrite(request),
        full_info=_is_true(request, "full_info"),
    )
    return answers.json(told)


@_refusing
async def delete_userdata(request: web.Request) -> web.StreamResponse:
    """Removes a file."""
    files = await user_files(request)
    await services(request).userdata.alone(files, files.delete, request.match_info["file"])
    return answers.empty(204)


@_refusing
async def move_userdata(request: web.Request) -> web.StreamResponse:
    """Renames a file."""
    files, room = await user_files(request), services(request).userdata
    names = request.match_info["file"], request.match_info["dest"]
    path = await room.alone(files, files.move, *names, overwrite=_may_overwrite(request))
    return answers.json(await room.call(files.told, path, full_info=_is_true(request, "full_info")))


async def no_userdata(request: web.Request) -> web.StreamResponse:
    """What the other routes leave: a name in more than one segment is no file, and not for a runner to answer."""
    if request.method in (hdrs.METH_GET, hdrs.METH_HEAD):
        return web.Response(status=404, content_type="application/octet-stream")
    raise web.HTTPMethodNotAllowed(request.method, ["GET", "HEAD"])


async def _body(request: web.Request) -> AsyncIterator[bytes]:
    size, most = 0, request.client_max_size
    async for chunk in request.content.iter_chunked(CHUNK_BYTES):
        size += len(chunk)
        if size > most:
            raise web.HTTPRequestEntityTooLarge(most, size)
        yield chunk


def _is_true(request: web.Request, name: str) -> bool:
    return request.query.get(name, "").lower() == "true"


def _may_overwrite(request: web.Request) -> bool:
    return request.query.get("overwrite") != "false"


ROUTES = [
    web.get("/userdata", list_userdata),
    web.get("/v2/userdata", list_userdata_v2),
    web.get("/userdata/{file}", get_userdata),
    web.post("/userdata/{file}", post_userdata),
    web.delete("/userdata/{file}", delete_userdata),
    web.post("/userdata/{file}/move/{dest}", move_userdata),
]
NO_FILES = [
    web.route("*", f"{prefix}/userdata/{{path:.*}}", no_userdata) for prefix in ("", "/api")
]  # after all others
