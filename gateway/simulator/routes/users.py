"""Users, settings and user data of a single-user server (ComfyUI app/user_manager.py, app_settings.py)."""

import json
import mimetypes
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from gateway.simulator.folders import PathEscapes, inside
from gateway.simulator.http import json_of, json_response, state_of
from gateway.simulator.routes.files import ACTIVE_TYPES

USER = "default"
SETTINGS_FILE = "comfy.settings.json"
BAD_NAME = 'Invalid filename. Please avoid special characters like :\\/*?"<>|'


def _root(request: web.Request) -> Path:
    return state_of(request).folders.base / "user" / USER


def _path(request: web.Request, name: str, *, make_parent: bool = True) -> Path | None:
    """The user's file of that name, which may be URL-encoded once more; None if it leads out."""
    root = _root(request)
    try:
        path = inside(root, unquote(name) if "%" in name else name)
    except PathEscapes:
        return None
    if make_parent:
        path.parent.mkdir(parents=True, exist_ok=True)
    return path


async def get_users(request: web.Request) -> web.Response:
    """How users are stored."""
    return json_response({"storage": "server", "migrated": _root(request).exists()})


async def post_users(request: web.Request) -> web.Response:
    """Make a user, who is of no use on a single-user server."""
    name = (await json_of(request))["username"]
    if name == USER:
        return json_response({"error": "Duplicate username."}, status=400)
    if not name.strip():
        return json_response({"error": "username not provided"}, status=400)
    user_id = re.sub("[^a-zA-Z0-9-_]+", "-", name.strip())
    return json_response(f"{user_id}_{uuid.uuid4()}")


def _settings_file(request: web.Request) -> Path:
    path = _root(request) / SETTINGS_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _settings(request: web.Request) -> dict[str, Any]:
    path = _settings_file(request)
    return dict(json.loads(path.read_text())) if path.exists() else {}


async def get_settings(request: web.Request) -> web.Response:
    """All settings."""
    return json_response(_settings(request))


async def get_setting(request: web.Request) -> web.Response:
    """One setting, or null."""
    return json_response(_settings(request).get(request.match_info["id"]))


async def post_settings(request: web.Request) -> web.Response:
    """Change some settings."""
    new = await json_of(request)
    _settings_file(request).write_text(json.dumps({**_settings(request), **new}, indent=4))
    return web.Response()


async def post_setting(request: web.Request) -> web.Response:
    """Change one setting."""
    new = {request.match_info["id"]: await json_of(request)}
    _settings_file(request).write_text(json.dumps({**_settings(request), **new}, indent=4))
    return web.Response()


def _info(request: web.Request, path: Path, relative_to: Path) -> dict[str, Any]:
    facts = path.stat()
    times: dict[str, float] = {"modified": facts.st_mtime, "created": facts.st_ctime}
    if state_of(request).personality.integer_file_times:
        times = {name: int(seconds * 1000) for name, seconds in times.items()}
    return {"path": path.relative_to(relative_to).as_posix(), "size": facts.st_size, **times}


def _flag(request: web.Request, name: str) -> bool:
    return request.query.get(name, "").lower() == "true"


async def list_userdata(request: web.Request) -> web.Response:
    """The files of a folder."""
    directory = request.query.get("dir", "")
    if not directory:
        return web.Response(status=400, text="Directory not provided")
    path = _path(request, directory)
    if path is None:
        return web.Response(status=403, text="Invalid directory")
    if not path.exists():
        return web.Response(status=404, text="Directory not found")
    if not path.is_dir():
        return json_response([])
    files = [file for file in _visible(path, recurse=_flag(request, "recurse")) if file.is_file()]
    if _flag(request, "full_info"):
        return json_response([_info(request, file, path) for file in files])
    names = [file.relative_to(path).as_posix() for file in files]
    return json_response([[name, *name.split("/")] for name in names] if _flag(request, "split") else names)


def _visible(path: Path, *, recurse: bool) -> Iterator[Path]:
    """What a glob of "*" or "**/*" finds: nothing whose name begins with a dot."""
    for found in sorted(path.iterdir()):
        if found.name.startswith("."):
            continue
        yield found
        if recurse and found.is_dir():
            yield from _visible(found, recurse=True)


async def list_userdata_v2(request: web.Request) -> web.Response:
    """Folders and files under a path, folders first."""
    root = _root(request)
    wanted = unquote(request.query.get("path", ""))
    path = _path(request, wanted, make_parent=False) if wanted else root
    if path is None:
        return web.Response(status=400, text="Invalid path requested")
    if not path.exists():
        return json_response([]) if path == root else web.Response(status=404, text="Requested path not found")
    if not path.is_dir():
        return web.Response(status=400, text="Requested path is not a directory")
    rows: list[dict[str, Any]] = []
    for found in path.rglob("*"):
        row: dict[str, Any] = {"name": found.name, "path": found.relative_to(root).as_posix()}
        if found.is_dir():
            rows.append({**row, "type": "directory"})
        else:
            facts = found.stat()
            rows.append({**row, "type": "file", "size": facts.st_size, "modified": facts.st_mtime})
    rows.sort(key=lambda row: (row["type"] != "directory", row["name"].lower()))
    return json_response(rows)


def _file_of(request: web.Request, parameter: str = "file", *, must_exist: bool = False) -> Path | web.Response:
    path = _path(request, request.match_info[parameter])
    if path is None:
        return web.Response(status=403)
    if must_exist and not os.path.exists(path):  # noqa: PTH110  a name that is too long is just not there
        return web.Response(status=404)
    return path


async def get_userdata(request: web.Request) -> web.StreamResponse:
    """A file; newer servers let browsers only download it."""
    path = _file_of(request, must_exist=True)
    if not isinstance(path, Path):
        return path
    if not state_of(request).personality.nosniff:
        return web.FileResponse(path)
    content_type = mimetypes.guess_type(path)[0] or "application/octet-stream"
    disposition = "attachment"
    if path == _root(request) / "user.css":
        content_type, disposition = "text/css", "inline"
    elif content_type in ACTIVE_TYPES:
        content_type = "application/octet-stream"
    headers = {
        "Content-Type": content_type,
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": disposition,
    }
    return web.FileResponse(path, headers=headers)


async def post_userdata(request: web.Request) -> web.Response:
    """Write a file."""
    path = _file_of(request)
    if not isinstance(path, Path):
        return path
    if _must_not_replace(request, path):
        return web.Response(status=409, text="File already exists")
    body = await request.read()
    try:
        path.write_bytes(body)
    except OSError:
        return web.Response(status=400, reason=BAD_NAME)
    return _told(request, path)


async def delete_userdata(request: web.Request) -> web.Response:
    """Delete a file."""
    path = _file_of(request, must_exist=True)
    if not isinstance(path, Path):
        return path
    path.unlink()
    return web.Response(status=204)


async def move_userdata(request: web.Request) -> web.Response:
    """Rename a file."""
    source = _file_of(request, must_exist=True)
    if not isinstance(source, Path):
        return source
    target = _file_of(request, "dest")
    if not isinstance(target, Path):
        return target
    if _must_not_replace(request, target):
        return web.Response(status=409, text="File already exists")
    shutil.move(source, target)
    return _told(request, target)


def _must_not_replace(request: web.Request, path: Path) -> bool:
    return request.query.get("overwrite", "true") == "false" and path.exists()


def _told(request: web.Request, path: Path) -> web.Response:
    if _flag(request, "full_info"):
        return json_response(_info(request, path, _root(request)))
    return json_response(os.path.relpath(path, _root(request)))


ROUTES = (
    web.get("/users", get_users),
    web.post("/users", post_users),
    web.get("/settings", get_settings),
    web.get("/settings/{id}", get_setting),
    web.post("/settings", post_settings),
    web.post("/settings/{id}", post_setting),
    web.get("/userdata", list_userdata),
    web.get("/v2/userdata", list_userdata_v2),
    web.get("/userdata/{file}", get_userdata),
    web.post("/userdata/{file}", post_userdata),
    web.delete("/userdata/{file}", delete_userdata),
    web.post("/userdata/{file}/move/{dest}", move_userdata),
)
