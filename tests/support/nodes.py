"""Routes as custom nodes add them to a runner, for ``SimulatorOptions.extra_routes``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import WSMsgType, web

CHUNK = bytes(64 * 1024)


async def echo(request: web.Request) -> web.Response:
    """What arrived, as JSON."""
    told = {
        "method": request.method,
        "path": request.rel_url.raw_path_qs.removeprefix("/api"),
        "body": (await request.read()).decode(),
        "type": request.headers.get("Content-Type"),
        "encoding": request.headers.get("Content-Encoding"),
        "language": request.headers.get("Accept-Language"),
        "secrets": sorted({"Cookie", "Authorization", "Origin", "Referer", "X-Forwarded-For"} & set(request.headers)),
    }
    return web.json_response(told)


async def whole(request: web.Request) -> web.Response:
    """How many bytes came, read as they come."""
    size = 0
    async for chunk in request.content.iter_chunked(len(CHUNK)):
        size += len(chunk)
    return web.json_response({"size": size})


async def many(request: web.Request) -> web.StreamResponse:
    """As many bytes as asked for, without saying so before."""
    answer = web.StreamResponse()
    await answer.prepare(request)
    for _ in range(int(request.query["bytes"]) // len(CHUNK)):
        await answer.write(CHUNK)
    return answer


async def cut(request: web.Request) -> web.StreamResponse:
    """Breaks off in the middle of the answer."""
    answer = web.StreamResponse(headers={"Content-Length": "1000000"})
    await answer.prepare(request)
    await answer.write(CHUNK)
    assert request.transport is not None
    request.transport.abort()
    return answer


async def chat(request: web.Request) -> web.WebSocketResponse:
    """A websocket that sends back what it gets; "size N" gets N bytes, "bye N" a close with that code."""
    socket = web.WebSocketResponse(protocols=("node.v2", "node.v1"), max_msg_size=0)
    await socket.prepare(request)
    await socket.send_str(json.dumps({"path": request.rel_url.raw_path_qs, "protocol": socket.ws_protocol}))
    async for frame in socket:
        if frame.type is WSMsgType.BINARY:
            await socket.send_bytes(frame.data)
        elif frame.data.startswith("size "):
            await socket.send_bytes(bytes(int(frame.data[5:])))
        elif frame.data.startswith("bye "):
            await socket.close(code=int(frame.data[4:]), message=b"as you wish")
        else:
            await socket.send_str(frame.data)
    return socket


ROUTES = (
    web.route("*", "/tn/echo", echo),
    web.route("*", "/tn/echo/{rest:.*}", echo),
    web.post("/tn/whole", whole),
    web.get("/tn/many", many),
    web.get("/tn/cut", cut),
    web.get("/tn/chat", chat),
)


def answering(answers: Mapping[str, Any], *, name: str = "") -> list[web.RouteDef]:
    """GET routes with these JSON answers, and ``/tn/name``, which tells which runner answers."""

    def route(path: str, answer: Any) -> web.RouteDef:
        async def handler(_: web.Request) -> web.Response:
            return web.json_response(answer)

        return web.get(path, handler)

    return [route(path, answer) for path, answer in {**answers, "/tn/name": name}.items()]


def telling(path: str, text: str) -> web.RouteDef:
    """A GET route with a text, such as a static file of a custom node."""

    async def handler(_: web.Request) -> web.Response:
        return web.Response(text=text)

    return web.get(path, handler)


async def chunks(size: int) -> AsyncIterator[bytes]:
    """A body of that many bytes."""
    for _ in range(size // len(CHUNK)):
        await asyncio.sleep(0)
        yield CHUNK
