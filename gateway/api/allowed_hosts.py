"""Requests for a host name that is not the gateway's are refused before anything else is done: 421 in the words of the
API that was called. Which names are its own is in ``gateway.access.hosts``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from gateway.access.addresses import called_host
from gateway.access.errors import Misdirected
from gateway.access.hosts import AllowedHosts
from gateway.api.authentication import refusal
from gateway.api.v1.faults import is_ours as is_v1

ALLOWED_HOSTS = web.AppKey("allowed hosts", AllowedHosts)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def own_host_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Passes on what is for one of the gateway's names, or for an address; the host is the one that the client called,
    as trusted proxies tell it."""
    if request.app[ALLOWED_HOSTS].allow(called_host(request)):
        return await handler(request)
    if is_v1(request):
        raise Misdirected  # has a form of its own
    return refusal(request, Misdirected())
