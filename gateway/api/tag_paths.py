"""A base URL for a set of tags: ``/tags/sdxl+gpu-a100/…`` is a ComfyUI of its own, made of the runners that have all of
these tags.

The path is cut before a request is made from what the parser read, as a prefix is (`prefix`), so every route is there:
the frontend, the websocket, custom nodes'. The tags stay with the request.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from aiohttp import hdrs, web
from yarl import URL

from gateway.api.prefix import MakeRequest, outward

TAGS = web.RequestKey("tags", tuple[str, ...])
BASE = web.RequestKey("tags base", str)
NO_SLASH = web.RequestKey("tags without slash", bool)
START = "/tags/"
TAGS_MOST = 32
_PATH = re.compile(r"/tags/([^/]+)(/.*)?")


def with_tags(make: MakeRequest) -> MakeRequest:
    """Makes requests as ``make`` does (aiohttp's `web.Server.request_factory`), without tags in their paths."""

    def cut(message: Any, *rest: Any) -> web.BaseRequest:
        path = message.url.raw_path
        found = _PATH.fullmatch(path) if path.startswith(START) else None
        if found is None:
            request = make(message, *rest)
            request[TAGS], request[NO_SLASH] = (), False  # looked up by every request: one that is there costs less
            return request
        inner = URL.build(path=found[2] or "/", query_string=message.url.raw_query_string, encoded=True)
        request = make(message._replace(path=str(inner), url=inner), *rest)
        request[TAGS], request[BASE] = parse(found[1]), START + found[1]
        request[NO_SLASH] = found[2] is None
        return request

    return cut


def parse(segment: str) -> tuple[str, ...]:
    """The tags of a path's segment, each once; empty ones do not count."""
    return tuple(dict.fromkeys(tag for part in segment.split("+") if (tag := unquote(part).strip())))


def outward_here(request: web.Request, path: str) -> str:
    """The path as a browser has to ask for it, below the base URL that it called."""
    return outward(request, request.get(BASE, "") + path)


def leads_to_page(request: web.Request) -> web.Response | None:
    """The way from ``/tags/sdxl`` to ``/tags/sdxl/``, since pages count paths from their last slash; None elsewhere."""
    if not request.get(NO_SLASH, False) or request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
        return None
    query = f"?{request.rel_url.raw_query_string}" if request.query_string else ""
    return web.Response(status=308, headers={hdrs.LOCATION: outward_here(request, "/") + query})


def tags_of(request: web.Request) -> tuple[str, ...]:
    """The tags of the base URL that was called."""
    found: tuple[str, ...] = request.get(TAGS, ())
    return found
