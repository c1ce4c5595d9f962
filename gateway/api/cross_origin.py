"""What pages of other sites may do: nothing, unless the configuration names their origin (CORS).

The order of the rules, for a request that a browser sends:

1. of an origin that `browsers.origins` names: passes; its preflights are answered (aiohttp-cors);
2. of any origin where `"*"` is named: the same, unless it carries what the browser adds by itself (a cookie, basic
   authentication), which only named origins may;
3. cross-site by the browser's own word (Sec-Fetch-Site): 403, but for following a link to the frontend's page;
4. to a loopback host from a page of another host: 403 (2 to 4: ComfyUI server.py create_origin_only_middleware);
5. a websocket, or a method that changes something, from a page of another host or of none: 403.

The host is the one that the browser called, as trusted proxies tell it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp_cors
from aiohttp import hdrs, web
from aiohttp_cors.abc import AbstractRouterAdapter

from gateway.access.addresses import called_host
from gateway.api import answers
from gateway.config import BrowsersConfig, is_loopback

ANY: Final = "*"
PREFLIGHT_SECONDS = 600  # that a browser may keep the answer
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
TOLD = ("Content-Disposition", "ETag", "Location", "Retry-After", "X-Gateway-Job", "X-Gateway-Runner")
_CHANGES_NOTHING = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Origins:
    """The origins whose pages may call the gateway.

    Args:
        config: `browsers` of the configuration.
    """

    def __init__(self, config: BrowsersConfig) -> None:
        self._named = frozenset(config.origins) - {ANY}
        self._any = ANY in config.origins
        self._everywhere = _Everywhere(
            {
                origin: aiohttp_cors.ResourceOptions(  # type: ignore[no-untyped-call]
                    allow_credentials=config.credentials and origin != ANY,
                    allow_headers="*",
                    allow_methods=METHODS,
                    expose_headers=TOLD,
                    max_age=PREFLIGHT_SECONDS,
                )
                for origin in config.origins
            }
        )

    def attach(self, app: web.Application) -> None:
        """Has every answer to an allowed origin say so, and answers differ by origin for caches."""
        app[ORIGINS] = self
        if self._named or self._any:
            aiohttp_cors.CorsConfig(app, router_adapter=self._everywhere).add(app)
            app.on_response_prepare.append(_vary)

    def allows(self, request: web.Request) -> bool:
        """Whether the request is of a page that may call."""
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None:
            return False
        return origin in self._named or (self._any and not _carries_ambient(request))

    async def preflight(self, request: web.Request) -> web.StreamResponse:
        """The answer to a preflight of such a page."""
        assert self._everywhere.preflight is not None
        return await self._everywhere.preflight(request)


ORIGINS = web.AppKey("origins", Origins)


class _Everywhere(AbstractRouterAdapter):
    """aiohttp-cors' view of the routes: one configuration for all, those of the runners included."""

    def __init__(self, config: Mapping[str, aiohttp_cors.ResourceOptions]) -> None:
        self.preflight: Handler | None = None
        self._config = config

    def add_preflight_handler(self, _entity: Any, handler: Handler, webview: bool = False) -> None:
        self.preflight = handler

    def set_config_for_routing_entity(self, _entity: Any, _config: Any) -> None:
        return None

    def is_preflight_request(self, request: web.Request) -> bool:
        return request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers

    def is_cors_enabled_on_request(self, request: web.Request) -> bool:
        return True

    async def get_preflight_request_config(
        self, _request: web.Request, _origin: str, method: str
    ) -> Mapping[str, aiohttp_cors.ResourceOptions]:
        if method not in METHODS:
            raise KeyError(method)
        return self._config

    def get_non_preflight_request_config(self, _request: web.Request) -> Mapping[str, aiohttp_cors.ResourceOptions]:
        return self._config


async def _vary(_request: web.Request, answer: web.StreamResponse) -> None:
    vary = answer.headers.get(hdrs.VARY)
    answer.headers[hdrs.VARY] = f"{vary}, {hdrs.ORIGIN}" if vary else hdrs.ORIGIN


@web.middleware
async def same_site_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Applies the rules of this module. Answers every OPTIONS that it lets through, as ComfyUI does."""
    origins = request.app[ORIGINS]
    is_allowed = origins.allows(request)
    if not is_allowed and _is_refused(request):
        return answers.empty(403)
    if request.method == hdrs.METH_OPTIONS:
        asks = hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
        return await origins.preflight(request) if is_allowed and asks else answers.empty()
    return await handler(request)


def _is_refused(request: web.Request) -> bool:
    """Rules 3 to 5."""
    site = request.headers.get("Sec-Fetch-Site")
    if site == "cross-site" and not _follows_link(request):
        return True
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None or not (host := called_host(request).lower()):
        return False
    differ = _differ(host, origin.lower())
    if _is_loopback(host) and differ and origin != "null":
        return True
    return differ and site != "same-origin" and _changes_something(request)


def _changes_something(request: web.Request) -> bool:
    is_websocket = request.headers.get(hdrs.UPGRADE, "").lower() == "websocket"
    return is_websocket or request.method not in _CHANGES_NOTHING


def _differ(host: str, origin: str) -> bool:
    """Whether a host is not the origin's. Ports count where both have one."""
    try:
        called, page = urlsplit(f"//{host}"), urlsplit(origin)
        return called.hostname != page.hostname or (None not in (called.port, page.port) and called.port != page.port)
    except ValueError:
        return True  # a port or an address that is none


def _is_loopback(host: str) -> bool:
    try:
        return is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False


def _follows_link(request: web.Request) -> bool:
    """Following a link from another site to the frontend's page is no harm."""
    return (
        request.method == hdrs.METH_GET and request.path == "/" and request.headers.get("Sec-Fetch-Mode") == "navigate"
    )


def _carries_ambient(request: web.Request) -> bool:
    """Whether it carries what a browser adds by itself, for whatever page."""
    basic = request.headers.get(hdrs.AUTHORIZATION, "").lower().startswith("basic ")
    return hdrs.COOKIE in request.headers or basic
