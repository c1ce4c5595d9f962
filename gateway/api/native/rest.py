"""Whatever no other route answers: the frontend's files, and everything that only a runner can answer."""

from __future__ import annotations

from aiohttp import hdrs, web

from gateway.api import answers
from gateway.api.native import frontend
from gateway.api.relay import relay
from gateway.api.services import services


async def rest(request: web.Request) -> web.StreamResponse:
    """A file of the frontend, else the primary's answer, streamed both ways."""
    if request.method == hdrs.METH_OPTIONS:
        return answers.empty()
    found = await frontend.static_file(request)
    if found is not None:
        return found
    runner = services(request).pool.primary
    if runner is None:
        return web.Response(status=503, text="no runner is up to answer this\n", headers={"Retry-After": "5"})
    return await relay(request, runner, request.rel_url.raw_path_qs)
