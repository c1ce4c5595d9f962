"""The least that a relay of websocket messages can be in Python: each is parsed as JSON and passed on as it came.

python -m bench.bare_relay PORT UPSTREAM
"""

from __future__ import annotations

import sys

import aiohttp
import orjson
import uvloop
from aiohttp import web


async def alive(_request: web.Request) -> web.Response:
    return web.Response()


async def relay(request: web.Request) -> web.WebSocketResponse:
    url = f"{sys.argv[2]}{request.path_qs}"
    async with aiohttp.ClientSession() as http, http.ws_connect(url, max_msg_size=0) as up:
        down = web.WebSocketResponse(compress=False, max_msg_size=0)
        await down.prepare(request)
        async for message in up:
            if message.type is aiohttp.WSMsgType.TEXT:
                orjson.loads(message.data)
                await down.send_str(message.data)
            else:
                await down.send_bytes(message.data)
    return down


if __name__ == "__main__":
    app = web.Application()
    app.add_routes([web.get("/", alive), web.get("/ws", relay)])
    uvloop.install()
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=lambda *_: None)
