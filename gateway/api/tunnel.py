"""Relaying a websocket of a custom node's own route: frames both ways, in order, and how it ends."""

from __future__ import annotations

import asyncio

import aiohttp
import structlog
from aiohttp import WSCloseCode, WSMsgType, hdrs, web

from gateway.access.credentials import path_without_tokens
from gateway.api import answers
from gateway.api.relay import leads_out, request_headers
from gateway.runners.errors import RunnerError, RunnerMisanswered
from gateway.runners.runner import Runner

UNSENDABLE = {1005: WSCloseCode.OK, 1006: WSCloseCode.GOING_AWAY}  # codes that only tell of a close (RFC 6455, 7.4.1)
OF_THE_HANDSHAKE = "sec-websocket-"

log = structlog.get_logger(__name__)

Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


def is_upgrade(request: web.Request) -> bool:
    """True when the client wants a websocket."""
    return request.headers.get(hdrs.UPGRADE, "").lower() == "websocket"


async def tunnel(request: web.Request, runner: Runner, path: str) -> web.StreamResponse:
    """Opens the runner's websocket, then the client's, and hands over every frame until one side closes.

    Frames of the runner may have any size, the client's that of a request's body. A runner that answers with something
    else than a websocket gives its status, one that does not answer 502.
    """
    if leads_out(path):
        return answers.empty(404)
    headers = request_headers(request)
    for name in [name for name in headers if name.lower().startswith(OF_THE_HANDSHAKE)]:
        headers.popall(name, None)
    offered = request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "")
    protocols = [name.strip() for name in offered.split(",") if name.strip()]
    try:
        async with runner.client.tunnel(path_without_tokens(path), headers=headers, protocols=protocols) as upstream:
            agreed = [upstream.protocol] if upstream.protocol else []
            most = request.client_max_size
            client = web.WebSocketResponse(protocols=agreed, max_msg_size=most, compress=False, autoclose=False)
            client.headers[answers.RUNNER_HEADER] = runner.name
            await client.prepare(request)
            await _hand_over(client, upstream)
            return client
    except RunnerMisanswered as error:
        return answers.empty(error.status)
    except RunnerError as error:
        log.warning("tunnel.failed", runner=runner.name, path=path.partition("?")[0], reason=error.reason)
        runner.suspect(error.reason)
        return answers.runner_failed(runner.name, error.reason)


async def _hand_over(client: web.WebSocketResponse, upstream: aiohttp.ClientWebSocketResponse) -> None:
    """Both ways at once; the end of one side is told to the other."""
    ways = [
        asyncio.create_task(_one_way(client, upstream), name="tunnel up"),
        asyncio.create_task(_one_way(upstream, client), name="tunnel down"),
    ]
    try:
        ended, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
    code, reason = ended.pop().result()
    await upstream.close(code=code, message=reason)
    await client.close(code=code, message=reason)


async def _one_way(source: Socket, target: Socket) -> tuple[int, bytes]:
    """Hands over frames until the source closes or either side is gone. Returns the close code and the reason."""
    while True:
        frame = await source.receive()
        try:
            if frame.type is WSMsgType.TEXT:
                await target.send_str(frame.data)
                continue
            if frame.type is WSMsgType.BINARY:
                await target.send_bytes(frame.data)
                continue
        except ConnectionError:
            return WSCloseCode.GOING_AWAY, b""
        if frame.type is WSMsgType.CLOSE:
            return int(UNSENDABLE.get(frame.data, frame.data)), (frame.extra or "").encode()
        code = source.close_code or WSCloseCode.GOING_AWAY
        return int(UNSENDABLE.get(code, code)), b""
