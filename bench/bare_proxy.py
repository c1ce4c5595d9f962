"""The least that a gateway can be in Python: a prompt is parsed, posted to one runner, and its answer passed on.
Nothing is stored, placed, or told.

    python -m bench.bare_proxy PORT RUNNER
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import aiohttp
import orjson
import uvloop
from aiohttp import web

HTTP = web.AppKey("http", aiohttp.ClientSession)


async def alive(_request: web.Request) -> web.Response:
    return web.Response()


async def post_prompt(request: web.Request) -> web.Response:
    body = orjson.dumps(orjson.loads(await request.read()))
    async with request.app[HTTP].post(f"{sys.argv[2]}/prompt", data=body) as response:
        return web.Response(body=await response.read(), status=response.status, content_type="application/json")


async def session(app: web.Application) -> AsyncIterator[None]:
    async with aiohttp.ClientSession() as app[HTTP]:
        yield


if __name__ == "__main__":
    uvloop.install()
    bare = web.Application()
    bare.cleanup_ctx.append(session)
    bare.add_routes([web.get("/", alive), web.post("/prompt", post_prompt)])
    web.run_app(bare, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=lambda *_: None)
