"""A browser as far as the gateway can tell it apart: one that has loaded the page and keeps its cookie."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from support.client import Client


@asynccontextmanager
async def browser(base: str, *, sid: str | None = None) -> AsyncIterator[Client]:
    """A browser's tab with its websocket."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        async with http.get(f"{base}/") as page:
            assert "comfy_gateway_browser" in page.cookies
        client = Client(base, http, sid or uuid.uuid4().hex)
        async with http.ws_connect(f"{base}/ws?clientId={client.sid}", max_msg_size=0) as socket:
            client.socket = socket
            yield client
