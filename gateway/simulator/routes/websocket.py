"""The websocket /ws (ComfyUI server.py websocket_handler)."""

import uuid

from aiohttp import WSMsgType, web

from gateway.comfyui import json_text
from gateway.simulator.http import state_of
from gateway.simulator.runner import RunnerState
from gateway.simulator.sockets import Connection


async def websocket(request: web.Request) -> web.StreamResponse:
    """Say hello, take the client's feature flags, and stay until it goes."""
    state = state_of(request)
    if state.faults.refuse_websockets:
        return web.Response(status=503)
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    sid = request.query.get("clientId", "") or uuid.uuid4().hex
    connection = state.sockets.add(sid, socket)
    try:
        await state.sockets.tell(sid, "status", {"status": state.queue_info(), "sid": sid})
        if state.executor.client_id == sid and state.executor.last_node_id is not None:
            await state.sockets.tell(sid, "executing", {"node": state.executor.last_node_id})
        await _listen(state, sid, socket, connection)
    finally:
        state.sockets.remove(sid, socket, deaf_bug=state.options.deaf_bug)
    return socket


async def _listen(state: RunnerState, sid: str, socket: web.WebSocketResponse, connection: Connection) -> None:
    first = True
    async for message in socket:
        if message.type is not WSMsgType.TEXT or not first:
            continue
        try:
            data = json_text.loads(message.data)
        except ValueError:
            continue
        if not isinstance(data, dict):
            continue
        first = False
        if data.get("type") == "feature_flags":
            flags = data.get("data", {})
            connection.feature_flags = flags if isinstance(flags, dict) else {}
            await state.sockets.tell(sid, "feature_flags", state.feature_flags)


ROUTES = (web.get("/ws", websocket),)
