"""Every request passes here on its way to its route: who sent it is found out once, and whoever may not come in is told
so in the words of the API that was called.

    path                      without a token                            with one
    open (``OPEN``)           served                                     served; the caller is known
    ``/gateway/…``            401, or for a browser's page the login     its route says which scope it needs
    all others                401, or for a browser's page the login     403 without the scope ``run``
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlencode

from aiohttp import hdrs, web

from gateway.access.callers import IDENTITY, NOBODY, Identity
from gateway.access.credentials import is_upgrade, path_without_tokens, without_token
from gateway.access.errors import NotAuthenticated, Refused, ScopeMissing
from gateway.access.gate import GATE
from gateway.access.token import RUN
from gateway.api import answers
from gateway.api.prefix import outward
from gateway.api.tag_paths import outward_here
from gateway.api.v1.faults import is_ours as is_v1
from gateway.comfyui import errors

LOGIN = "/gateway/login"
# Routes, by their patterns, that need no token: whoever adds one says here why.
OPEN = frozenset(
    {
        "/gateway/health",  # for load balancers
        "/gateway/ready",
        LOGIN,
        "/gateway/logout",
        "/gateway/metrics",  # decides for itself, by access.open_metrics
        "/v1/output/{workflow_id}/{output_id}/{filename}",  # its signature says who may have it
    }
)
OWN_PREFIX = "/gateway/"
NEVER_KEPT = {hdrs.CACHE_CONTROL: "no-store"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def authenticated(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Finds out who calls; refuses whoever may not."""
    try:
        identity = request[IDENTITY] = await _identity(request)
        if identity.token is None or not is_upgrade(request):
            return await handler(request)
        with request.app[GATE].open_socket(request, identity):
            return await handler(without_token(request))
    except Refused as refused:
        if is_v1(request):
            raise  # has a form of its own
        return refusal(request, refused)


def refusal(request: web.Request, refused: Refused) -> web.StreamResponse:
    """A refusal in ComfyUI's form of errors; a browser that opens a page is sent to the login instead."""
    if isinstance(refused, NotAuthenticated) and refused.missing and _opens_page(request):
        return web.Response(status=303, headers={hdrs.LOCATION: _login_page(request), **NEVER_KEPT})
    body = errors.error_body(refused.kind, str(refused))
    return answers.json(body, status=refused.status, headers=refused.headers)


async def _identity(request: web.Request) -> Identity:
    pattern = _pattern(request)
    try:
        identity = await request.app[GATE].identify(request)
    except NotAuthenticated:
        if pattern not in OPEN:
            raise
        return NOBODY
    if pattern not in OPEN and not pattern.startswith(OWN_PREFIX) and RUN not in identity.scopes:
        raise ScopeMissing(RUN)
    return identity


def is_open(request: web.Request) -> bool:
    """Whether its route needs no token."""
    return _pattern(request) in OPEN


def _pattern(request: web.Request) -> str:
    """The pattern of the route that answers: a path may be written in several ways, a pattern in one."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else ""


def _opens_page(request: web.Request) -> bool:
    is_page = "text/html" in request.headers.get(hdrs.ACCEPT, "").lower()
    return is_page and request.method in (hdrs.METH_GET, hdrs.METH_HEAD) and not is_upgrade(request)


def _login_page(request: web.Request) -> str:
    here = outward_here(request, path_without_tokens(request.path_qs))
    return f"{outward(request, LOGIN)}?{urlencode({'next': here})}"
