"""Whoever asks for too much is refused before anything is done for it: 429 with ``Retry-After`` in the words of the API
that was called, 413 for a body. What the limits are is in ``gateway.access.limits``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from gateway.access.addresses import client_address
from gateway.access.callers import IDENTITY, Identity
from gateway.access.credentials import is_upgrade
from gateway.access.errors import Refused
from gateway.access.limits import Limits
from gateway.api.authentication import is_open, refusal
from gateway.api.v1.faults import is_ours as is_v1

LIMITS = web.AppKey("limits", Limits)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def address_limited(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Counts the requests of each address, before its token is looked at. Load balancers' checks are not counted."""
    if not is_open(request):
        try:
            request.app[LIMITS].check_address(client_address(request))
        except Refused as refused:
            if is_v1(request):
                raise  # has a form of its own
            return refusal(request, refused)
    return await handler(request)


@web.middleware
async def caller_limited(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Counts the requests of each token and the websockets of each owner, and bounds what is sent. Refusals are worded
    by ``authenticated``, around this. Raises Refused."""
    limits: Limits = request.app[LIMITS]
    identity: Identity = request[IDENTITY]
    if (identity.token is None and not is_upgrade(request)) or is_open(request):
        return await handler(request)
    limits.check_caller(identity)
    most = limits.body_bytes(identity)
    if most is not None and most < request.client_max_size:
        if (request.content_length or 0) > most:
            raise web.HTTPRequestEntityTooLarge(most, request.content_length or 0)
        request = request.clone(client_max_size=most)
    if not is_upgrade(request):
        return await handler(request)
    with limits.socket(identity.owner):
        return await handler(request)
