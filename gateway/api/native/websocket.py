"""``/ws``: a client's one socket to the whole pool."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial

from aiohttp import WSMsgType, web

from gateway.access.callers import BROWSERS, caller_of
from gateway.access.credentials import follows_owner
from gateway.api.pools import browsers_runner
from gateway.api.services import services
from gateway.comfyui import json_text
from gateway.sessions.heartbeat import Heartbeat
from gateway.sessions.hub import Hub
from gateway.sessions.session import Session
from gateway.sessions.wire import Wire

MESSAGE_BYTES_MOST = 4 * 1024 * 1024  # aiohttp's own limit, and so ComfyUI's


async def websocket(request: web.Request) -> web.StreamResponse:
    """Serves one socket until it closes (ComfyUI server.py websocket_handler).

    Only a client's first JSON object counts: its feature flags. ``mode`` in the query says how it is told of jobs that
    run in parallel (gateway.sessions.modes); what is no mode is passed over.
    """
    rooms = services(request)
    limits = rooms.config.sessions
    socket = web.WebSocketResponse(autoping=False, max_msg_size=MESSAGE_BYTES_MOST)
    await socket.prepare(request)
    if request.transport is None:
        return socket  # gone again
    heartbeat = Heartbeat(socket, request.transport, limits.heartbeat_seconds)
    sid = request.query.get("clientId") or rooms.hub.new_sid()
    client = (caller_of(request).owner, sid)
    session = Session(sid, client[0], Wire(socket, request), limits)
    request.app[BROWSERS].opened(request, sid)
    session.on_sent = heartbeat.sent
    tasks = [
        asyncio.create_task(session.run(), name=f"session {sid}"),
        asyncio.create_task(heartbeat.run(), name=f"heartbeat {sid}"),
    ]
    rooms.hub.broadcasts.joined(client, partial(_heard_runner, request))
    rooms.hub.connected(session, request.query.get("mode"))
    if follows_owner(request):
        rooms.hub.followers.joined(session)
    try:
        await _listen(socket, rooms.hub, session, heartbeat)
    finally:
        rooms.hub.disconnected(session)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await rooms.hub.broadcasts.left(client, rooms.pool.get)
    return socket


def _heard_runner(request: web.Request) -> str | None:
    """The runner that answers for this client now."""
    runner = browsers_runner(request, binds=False)
    return runner.name if runner is not None else None


async def _listen(socket: web.WebSocketResponse, hub: Hub, session: Session, heartbeat: Heartbeat) -> None:
    first = True
    async for frame in socket:
        heartbeat.heard()
        if frame.type is WSMsgType.PING:
            with suppress(ConnectionError):
                await socket.pong(frame.data)
        if frame.type is not WSMsgType.TEXT or not first:
            continue
        try:
            message = json_text.loads(frame.data)
        except ValueError:
            continue
        if not isinstance(message, dict):
            continue
        first = False
        if message.get("type") == "feature_flags":
            flags = message.get("data", {})
            hub.negotiated(session, flags if isinstance(flags, dict) else {})
