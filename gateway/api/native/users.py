"""``/users`` and ``/settings``: thin over what the gateway keeps of its users.

Rules: ComfyUI app/user_manager.py, app/app_settings.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from gateway.access.callers import caller_of
from gateway.api import answers
from gateway.api.services import services
from gateway.files import settings
from gateway.files.user_files import UserDataRefused, UserFiles
from gateway.files.users import UnknownUser, UserRefused

USER_HEADER = "comfy-user"  # sent with every call of the frontend, empty in the single-user form


async def user_files(request: web.Request) -> UserFiles:
    """The files of the request's user. Raises UnknownUser, StorageError."""
    users = await services(request).userdata.users(caller_of(request).owner)
    return users.files_of(request.headers.get(USER_HEADER))


async def get_users(request: web.Request) -> web.Response:
    """Who there is, in the multi-user form; else whether the one user has anything yet."""
    room = services(request).userdata
    users = await room.users(caller_of(request).owner)
    if users.multi_user:
        return answers.json({"storage": "server", "users": users.names})
    migrated = await room.call(users.files_of(None).root.exists)
    return answers.json({"storage": "server", "migrated": migrated})


async def post_users(request: web.Request) -> web.Response:
    """Makes a user; the answer is the new id."""
    try:
        username = (await answers.body_json(request))["username"]
    except (ValueError, KeyError, TypeError, IndexError):
        return answers.failed()
    if not isinstance(username, str):
        return answers.failed()
    try:
        return answers.json(await services(request).userdata.add_user(caller_of(request).owner, username))
    except UserRefused as refused:
        return answers.json({"error": str(refused)}, status=400)


async def get_settings(request: web.Request) -> web.Response:
    """All settings."""
    return answers.json(await _settings(request))


async def get_setting(request: web.Request) -> web.Response:
    """One setting, or null."""
    return answers.json((await _settings(request)).get(request.match_info["id"]))


async def post_settings(request: web.Request) -> web.Response:
    """Changes some settings."""
    files = await _files_for_settings(request)
    try:
        new = await answers.body_json(request)
    except ValueError:
        return answers.failed()
    return await _change(request, files, new) if isinstance(new, dict) else answers.failed()


async def post_setting(request: web.Request) -> web.Response:
    """Changes one setting."""
    files = await _files_for_settings(request)
    try:
        new = await answers.body_json(request)
    except ValueError:
        return answers.failed()
    return await _change(request, files, {request.match_info["id"]: new})


async def _settings(request: web.Request) -> dict[str, Any]:
    return await services(request).userdata.call(settings.load, await _files_for_settings(request))


async def _change(request: web.Request, files: UserFiles, new: Mapping[str, Any]) -> web.Response:
    try:
        await services(request).userdata.alone(files, settings.change, files, new)
    except UserDataRefused as refused:
        return web.Response(status=refused.status, text=refused.text)
    return answers.empty()


async def _files_for_settings(request: web.Request) -> UserFiles:
    """401 for an unknown user makes the frontend ask who one is."""
    try:
        return await user_files(request)
    except UnknownUser as error:
        raise web.HTTPUnauthorized from error


ROUTES = [
    web.get("/users", get_users),
    web.post("/users", post_users),
    web.get("/settings", get_settings),
    web.post("/settings", post_settings),
    web.get("/settings/{id}", get_setting),
    web.post("/settings/{id}", post_setting),
]
