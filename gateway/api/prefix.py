"""A path prefix: the whole gateway under ``/comfy``, as behind a proxy that has other paths for other servers.

The prefix is taken away before a request is made from what the parser read, so no route knows of it. Answers that
name a path have to put it back (`outward`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import hdrs, web
from yarl import URL

from gateway.api.services import services

OUTSIDE = web.RequestKey("outside", bool)
WITHOUT_PREFIX = frozenset({"/gateway/health", "/gateway/ready"})  # what watches a process asks it, not through a proxy

Handler = Callable[[web.Request], Any]
MakeRequest = Callable[..., web.BaseRequest]


def under(prefix: str, make: MakeRequest) -> MakeRequest:
    """Makes requests as ``make`` does (aiohttp's `web.Server.request_factory`), without the prefix in their paths.
    Those of other paths are marked OUTSIDE."""

    def stripped(message: Any, *rest: Any) -> web.BaseRequest:
        path = message.url.raw_path
        if not path.startswith(prefix + "/"):
            request = make(message, *rest)
            request[OUTSIDE] = path not in WITHOUT_PREFIX
            return request
        inner = URL.build(path=path[len(prefix) :], query_string=message.url.raw_query_string, encoded=True)
        return make(message._replace(path=str(inner), url=inner), *rest)

    return stripped


@web.middleware
async def only_under_prefix(request: web.Request, handler: Handler) -> web.StreamResponse:
    """404 outside of the prefix. The prefix itself leads to its page, since pages count paths from their last slash."""
    if not request.get(OUTSIDE, False):
        answer: web.StreamResponse = await handler(request)
        return answer
    prefix = services(request).config.server.prefix
    if request.path == prefix and request.method in (hdrs.METH_GET, hdrs.METH_HEAD):
        target = f"{prefix}/" + (f"?{request.rel_url.raw_query_string}" if request.query_string else "")
        return web.Response(status=308, headers={hdrs.LOCATION: target})
    return web.Response(status=404)


def outward(request: web.Request, path: str) -> str:
    """The path as a browser has to ask for it."""
    return services(request).config.server.prefix + path
