"""``/gateway/api/openapi.json`` and ``/gateway/api/docs``: the document of the gateway's own routes, and a page to
read."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from typing import Any

from aiohttp import hdrs, web

from gateway.access.callers import require
from gateway.api import answers, own, webhooks
from gateway.api.openapi import Answer, Endpoint, document
from gateway.api.openapi_page import STYLE, page
from gateway.api.prefix import outward
from gateway.api.v1 import routes as v1

DOCUMENT = "/gateway/api/openapi.json"
PAGE = "/gateway/api/docs"
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; frame-ancestors 'none'"


async def get_document(request: web.Request) -> web.Response:
    """The document."""
    require(request, "run")
    return answers.json({**_document(), "servers": [{"url": outward(request, "/")}]})


async def get_page(request: web.Request) -> web.Response:
    """The document for people."""
    require(request, "run")
    text = page(_document(), outward(request, DOCUMENT))
    return web.Response(text=text, content_type="text/html", headers={hdrs.CONTENT_SECURITY_POLICY: POLICY})


@cache
def _document() -> dict[str, Any]:
    return document(endpoints())


def endpoints() -> list[Endpoint]:
    """Every route of the gateway's own."""
    return [*v1.ENDPOINTS, *own.ENDPOINTS, *webhooks.ENDPOINTS, *ENDPOINTS]


ENDPOINTS = [
    own.declare(
        "GET",
        DOCUMENT,
        get_document,
        "This document",
        tag="documentation",
        scope="run",
        model=dict[str, Any],
    ),
    own.declare(
        "GET",
        PAGE,
        get_page,
        "This document for people",
        tag="documentation",
        scope="run",
        answers={200: Answer("The page.", str, media=own.HTML)},
    ),
]
