"""What happens to every request before and after its route."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import lru_cache

import structlog
from aiohttp import hdrs, web

from gateway.access.callers import ANONYMOUS, IDENTITY
from gateway.api import answers
from gateway.api.asking import NoRunner
from gateway.api.services import services
from gateway.runners.errors import RunnerError
from gateway.storage.errors import StorageError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
IMAGES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
KEPT = frozenset({200, 201, 202, 203, 204, 205, 206, 301, 308})  # statuses of pictures that browsers may keep
HOUR_SECONDS, DAY_SECONDS = 3_600, 86_400
OWN_PATHS = ("/gateway/", "/v1/")
OWN_HEADERS = {
    hdrs.CONTENT_SECURITY_POLICY: "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
CLIENT_GONE = 499  # before its answer, as nginx counts it

log = structlog.get_logger(__name__)


async def answer_headers(request: web.Request, answer: web.StreamResponse) -> None:
    """The headers that answers get for their path; a signal handler, since streams have sent their headers by the time
    that a middleware sees them."""
    cache_headers(request, answer)
    if isinstance(answer, web.WebSocketResponse):
        return
    if request.path.startswith(OWN_PATHS):
        own_headers(answer)
    else:
        security_policy(request, answer)


def cache_headers(request: web.Request, answer: web.StreamResponse) -> None:
    """What browsers may keep, by the path's ending (ComfyUI middleware/cache_middleware.py)."""
    name = request.path.rsplit("/", 1)[-1]
    if name.endswith((".js", ".css")) or (name.startswith("index") and name.endswith(".json")):
        answer.headers.setdefault(hdrs.CACHE_CONTROL, "no-cache")
    elif name.lower().endswith(IMAGES):
        if answer.status == 404:
            answer.headers.setdefault(hdrs.CACHE_CONTROL, f"{_for_whom(request)}, max-age={HOUR_SECONDS}")
        elif answer.status in KEPT:
            answer.headers.setdefault(hdrs.CACHE_CONTROL, f"{_for_whom(request)}, max-age={DAY_SECONDS}")
        elif answer.status in (302, 303, 307):
            answer.headers.setdefault(hdrs.CACHE_CONTROL, "no-cache")


def _for_whom(request: web.Request) -> str:
    """Who may keep a picture: a cache between must not give one owner's to another."""
    return "private" if request.get(IDENTITY, ANONYMOUS).token is not None else "public"


def security_policy(request: web.Request, answer: web.StreamResponse) -> None:
    """What the runners were told to send, on what the gateway answers in their place (ComfyUI server.py
    create_block_external_middleware); the gateway's own pages are none of ComfyUI's."""
    policy = services(request).pool.security_policy()
    if policy:
        answer.headers.setdefault(hdrs.CONTENT_SECURITY_POLICY, policy)


def own_headers(answer: web.StreamResponse) -> None:
    """What browsers may do with the gateway's own pages and APIs, unless they say so themselves. ComfyUI's frontend
    would not work with these, and is left alone."""
    for name, value in OWN_HEADERS.items():
        answer.headers.setdefault(name, value)


@web.middleware
async def metered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Counts the request by its route's family, which is bounded however many paths there are."""
    began = time.monotonic()
    status = 500
    try:
        answer = await handler(request)
        status = answer.status
    except web.HTTPException as error:
        status = error.status
        raise
    except asyncio.CancelledError:
        status = CLIENT_GONE
        raise
    finally:
        is_websocket = request.headers.get(hdrs.UPGRADE, "").lower() == "websocket"
        seconds = None if is_websocket else time.monotonic() - began
        services(request).meters.answered(_family(request), request.method, status, seconds)
    return answer


def _family(request: web.Request) -> str:
    """The route's pattern, without the ``/api`` that ComfyUI's own routes may also carry."""
    resource = request.match_info.route.resource
    return _family_of(resource.canonical) if resource is not None else "other"


@lru_cache(maxsize=1_024)  # more than there are routes
def _family_of(pattern: str) -> str:
    if pattern.startswith("/{"):
        return "other"
    bare = pattern.removeprefix("/api")
    return bare if bare.startswith("/") and not pattern.startswith("/api/jobs") else pattern


@web.middleware
async def faults(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What a request ends with that is answered nowhere else.

    what goes wrong                                       answer
    only a runner could answer, and none is up            503
    a runner that was needed does not answer              502
    the database cannot be read or written now            503
    the client breaks off while its body is read          no fault of anyone; nobody reads the answer
    its body is not encoded as its headers say            400
    """
    try:
        return await handler(request)
    except NoRunner as missing:
        return answers.no_runner(str(missing))
    except RunnerError as error:
        log.warning(
            "request.runner", method=request.method, path=request.path, runner=error.runner, reason=error.reason
        )
        return answers.runner_failed(error.runner, error.reason)
    except StorageError as error:
        log.error("request.storage", method=request.method, path=request.path, reason=str(error))
        return web.Response(status=503, text=f"{error}\n", headers={"Retry-After": "5"})
    except ConnectionError:
        if request.transport is None or request.transport.is_closing():
            return web.Response(status=CLIENT_GONE)
        raise
    except web.RequestPayloadError as error:
        broken = web.Response(status=400, text=f"the body is not what its headers say: {error}\n")
        broken.force_close()
        return broken
