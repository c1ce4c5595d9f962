"""What happens to every request around its route: faults, the required header, ComfyUI's own checks and headers."""

import ipaddress
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

from gateway.simulator.http import state_of
from gateway.simulator.personality import CONTENT_SECURITY_POLICY

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CONTROL_PREFIX = "/simulator/"
_IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
_HOUR, _DAY = 3600, 86400  # seconds


@web.middleware
async def faults(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Wait, refuse or cut the connection as the switches say."""
    switches = state_of(request).faults
    if not switches.concerns(request.path):
        return await handler(request)
    await switches.before_answer()
    if switches.status is not None:
        return web.Response(status=switches.status)
    response = await handler(request)
    if switches.lose_prompt_replies > 0 and request.method == "POST" and request.path in ("/prompt", "/api/prompt"):
        switches.lose_prompt_replies -= 1
        if request.transport is not None:
            request.transport.abort()
    return response


@web.middleware
async def required_header(request: web.Request, handler: Handler) -> web.StreamResponse:
    """401 without the header that the runner wants."""
    required = state_of(request).options.required_header
    if required is not None and not request.path.startswith(CONTROL_PREFIX):
        name, value = required
        if request.headers.get(name) != value:
            return web.Response(status=401)
    return await handler(request)


@web.middleware
async def cache_control(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Cache-Control by the ending of the path (ComfyUI middleware/cache_middleware.py)."""
    response = await handler(request)
    name = request.path.rsplit("/", 1)[-1]
    if name.endswith((".js", ".css")) or (name.startswith("index") and name.endswith(".json")):
        never = "no-store" if state_of(request).personality.modern else "no-cache"
        response.headers.setdefault("Cache-Control", never)
    elif name.lower().endswith(_IMAGE_ENDINGS):
        if response.status == 404:
            response.headers.setdefault("Cache-Control", f"public, max-age={_HOUR}")
        elif response.status in (200, 201, 202, 203, 204, 205, 206, 301, 308):
            response.headers.setdefault("Cache-Control", f"public, max-age={_DAY}")
    return response


@web.middleware
async def same_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """403 for pages of other sites, and an empty 200 for every OPTIONS (ComfyUI server.py origin_only_middleware)."""
    if state_of(request).personality.checks_fetch_site and request.headers.get("Sec-Fetch-Site") == "cross-site":
        return web.Response(status=403)
    host, origin = request.headers.get("Host"), request.headers.get("Origin")
    if host is not None and origin is not None and _differ(host.lower(), origin):
        return web.Response(status=403)
    if request.method == "OPTIONS":
        return web.Response()
    return await handler(request)


def _differ(host: str, origin: str) -> bool:
    """Whether a loopback host and an origin are not the same; ports count only if both have one."""
    wanted, given = urlsplit(f"//{host}"), urlsplit(origin)
    if not _is_loopback(wanted.hostname):
        return False
    host_domain = wanted.hostname if given.port is None else host
    origin_domain = given.hostname if wanted.port is None else given.netloc.lower()
    return bool(host_domain and origin_domain) and host_domain != origin_domain


def _is_loopback(host: str | None) -> bool:
    if host is None:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@web.middleware
async def security_policy(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The header that --disable-api-nodes puts on everything that a route answers."""
    response = await handler(request)
    state = state_of(request)
    if state.options.disable_api_nodes and state.personality.modern:
        response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return response


MIDDLEWARES = (faults, required_header, cache_control, same_origin, security_policy)
