"""``/internal``: the log and the folders of the one runner that the browser is bound to."""

from __future__ import annotations

from aiohttp import web

from gateway.access.callers import require
from gateway.access.token import ADMIN
from gateway.api import answers
from gateway.api.asking import bound_to, primary_of
from gateway.api.relay import relay
from gateway.api.services import services
from gateway.runners.errors import RunnerError


async def from_bound_runner(request: web.Request) -> web.StreamResponse:
    """``/internal/logs`` and ``/internal/logs/raw``: a terminal is one machine's. It tells of everyone's jobs, so that
    with tokens it is for admins."""
    require(request, ADMIN)
    return await relay(request, bound_to(request), request.rel_url.raw_path_qs)


async def from_primary(request: web.Request) -> web.StreamResponse:
    """``/internal/folder_paths``: paths mean something on one machine only."""
    return await relay(request, primary_of(request), request.rel_url.raw_path_qs)


async def subscribe(request: web.Request) -> web.Response:
    """Sends new entries of the log to a client's websocket, or no longer (ComfyUI internal_routes.py subscribe_logs).

    To the runner the subscriber is the gateway's link.
    """
    try:
        body = await answers.body_json(request)
        sid, enabled = body["clientId"], body["enabled"]
    except (ValueError, TypeError, KeyError):
        return answers.failed()
    rooms, caller = services(request), require(request, ADMIN)
    client = (caller.owner, str(sid))
    if not enabled:
        await rooms.hub.broadcasts.unsubscribe(client, rooms.pool.get)
        return answers.empty()
    runner = bound_to(request)
    try:
        await rooms.hub.broadcasts.subscribe(client, runner, rooms.pool.get)
    except RunnerError as error:
        runner.suspect(error.reason)
        return answers.runner_failed(runner.name, error.reason)
    return answers.empty()


INTERNAL = [  # bare only
    web.get("/internal/logs", from_bound_runner),
    web.get("/internal/logs/raw", from_bound_runner),
    web.patch("/internal/logs/subscribe", subscribe),
    web.get("/internal/folder_paths", from_primary),
]
