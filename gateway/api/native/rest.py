"""Whatever no other route answers: the frontend's files, and everything that only a runner can answer, which is passed
through to one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
from aiohttp import hdrs, web

from gateway.access.callers import caller_of
from gateway.api import answers
from gateway.api.asking import bound_to
from gateway.api.choice import (
    another_than,
    holder_of_named_file,
    is_own_written_otherwise,
    names_anothers_file,
    runner_for,
)
from gateway.api.native import frontend, manager
from gateway.api.relay import leads_out, relay, relay_or_raise
from gateway.api.services import services
from gateway.api.tunnel import is_upgrade, tunnel
from gateway.files.staging import StagingError
from gateway.runners.errors import RunnerUnreachable

READING = (hdrs.METH_GET, hdrs.METH_HEAD)
ALWAYS_ALLOWED = frozenset(READING)  # ComfyUI's static files answer these on any path

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger(__name__)


async def rest(request: web.Request) -> web.StreamResponse:
    """A file of the frontend, else a runner's answer, streamed both ways."""
    if request.path.startswith("/gateway/") or request.path == "/gateway" or leads_out(request.rel_url.raw_path):
        return not_found()
    if manager.changes_a_runner(request) and not services(request).config.passthrough.allow_manager:
        return manager.refusal()
    found = await frontend.static_file(request)
    if found is not None:
        return found
    if not caller_of(request).is_admin and is_own_written_otherwise(request):
        return not_found()
    try:
        held = await holder_of_named_file(request)
    except StagingError as error:
        log.info("rest.not_staged", reason=str(error))
        return not_found()
    if held is not None:
        return await relay(request, *held)
    path = request.rel_url.raw_path_qs
    runner = bound_to(request) if frontend.is_frontends_own(request) else runner_for(request)
    if names_anothers_file(request, runner):
        return not_found()
    if is_upgrade(request):
        return await tunnel(request, runner, path)
    try:
        return await relay_or_raise(request, runner, path)
    except RunnerUnreachable as error:
        log.info("relay.elsewhere", runner=runner.name, reason=error.reason)
        another = another_than(request, runner)
    try:
        return await relay_or_raise(request, another, path)
    except RunnerUnreachable as error:
        return answers.runner_failed(another.name, error.reason)


def refuse_method(own: frozenset[str], bare: frozenset[str]) -> Handler:
    """A handler for the methods that a path of ComfyUI lacks: 405, but its static files would answer what is in
    ``bare`` on any path, with 404."""
    allowed = ",".join(sorted(own | bare))

    async def refuse(request: web.Request) -> web.Response:
        if request.method in bare:
            return not_found()
        return web.Response(status=405, text="405: Method Not Allowed", headers={hdrs.ALLOW: allowed})

    return refuse


def not_found() -> web.Response:
    """404 as ComfyUI answers it: from its static files, empty."""
    return web.Response(status=404, content_type="application/octet-stream")
