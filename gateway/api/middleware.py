"""What happens to every request before and after its route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import structlog
from aiohttp import hdrs, web

from gateway.api import answers
from gateway.storage.errors import StorageError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
LOOPBACK = ("127.", "localhost", "[::1]", "::1")

log = structlog.get_logger(__name__)


@web.middleware
async def same_site_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses what another site's page sends: without tokens, whoever reaches the gateway may use it.

    ComfyUI's own rule (server.py create_origin_only_middleware): a request to a loopback host must come from a page of
    the same host, and since 0.33 nothing cross-site passes.
    """
    if request.headers.get("Sec-Fetch-Site") == "cross-site" and not _opens_page(request):
        return answers.empty(403)
    origin = request.headers.get(hdrs.ORIGIN)
    host = request.headers.get(hdrs.HOST, "")
    if origin and host.startswith(LOOPBACK):
        from_host = urlsplit(origin).netloc.lower()
        if from_host and from_host != host.lower():
            return answers.empty(403)
    return await handler(request)


def _opens_page(request: web.Request) -> bool:
    """Following a link from another site to the frontend's page is no harm."""
    return (
        request.method == hdrs.METH_GET and request.path == "/" and request.headers.get("Sec-Fetch-Mode") == "navigate"
    )


@web.middleware
async def storage_faults(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A database that cannot be read or written now is 503, not a fault of the request."""
    try:
        return await handler(request)
    except StorageError as error:
        log.error("request.storage", method=request.method, path=request.path, reason=str(error))
        return web.Response(status=503, text=f"{error}\n", headers={"Retry-After": "5"})
