"""The runner's websockets: who is connected under which client id, and one ordered stream of messages to them."""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientConnectionError, web

from gateway.comfyui import frames, json_text
from gateway.simulator.faults import Faults


@dataclass(slots=True)
class Outgoing:
    """One message; `to` is a client id, or None for everyone."""

    message: frames.Preview | dict[str, Any]
    to: str | None


@dataclass(slots=True)
class Connection:
    """A socket and the feature flags its client sent."""

    socket: web.WebSocketResponse
    feature_flags: Mapping[str, Any] = field(default_factory=dict)


class Sockets:
    """All connections of a runner. Messages go out in the order of `send`, by the task that runs `publish`.

    As in ComfyUI a message for a client id that is not connected at that time is dropped.
    """

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._connections: dict[str, Connection] = {}
        self._open: set[web.WebSocketResponse] = set()
        self._outbox: deque[Outgoing] = deque()
        self._ready = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def __contains__(self, sid: object) -> bool:
        return sid in self._connections

    def __len__(self) -> int:
        return len(self._open)

    def add(self, sid: str, socket: web.WebSocketResponse) -> Connection:
        """Register a socket; a former one with the same id stays open but gets nothing any more."""
        self._open.add(socket)
        connection = self._connections[sid] = Connection(socket)
        return connection

    def remove(self, sid: str, socket: web.WebSocketResponse, *, deaf_bug: bool) -> None:
        """A socket closed. With the bug, a newer socket with its id loses its registration."""
        self._open.discard(socket)
        present = self._connections.get(sid)
        if present is not None and (deaf_bug or present.socket is socket):
            del self._connections[sid]

    def supports(self, sid: str | None, feature: str) -> bool:
        """Whether the client said that it knows a feature."""
        connection = self._connections.get(sid) if sid is not None else None
        return connection is not None and connection.feature_flags.get(feature) is True

    def send(self, kind: str, data: Mapping[str, Any], to: str | None = None) -> None:
        """Queue a text message."""
        self._put(Outgoing({"type": kind, "data": data}, to))

    def send_preview(self, preview: frames.Preview, to: str | None = None) -> None:
        """Queue a binary message."""
        self._put(Outgoing(preview, to))

    def _put(self, outgoing: Outgoing) -> None:
        self._outbox.append(outgoing)
        self._ready.set()
        self._idle.clear()

    async def publish(self) -> None:
        """Send what is queued, for ever."""
        while True:
            while self._outbox:
                outgoing = self._outbox.popleft()
                targets = self._targets(outgoing.to)
                if targets:
                    await self._deliver(outgoing.message, targets)
            self._idle.set()
            self._ready.clear()
            await self._ready.wait()

    def _targets(self, to: str | None) -> list[web.WebSocketResponse]:
        if self._faults.mute_websockets:
            return []
        if to is None:
            return [connection.socket for connection in self._connections.values()]
        connection = self._connections.get(to) if isinstance(to, str) else None
        return [] if connection is None else [connection.socket]

    async def _deliver(self, message: frames.Preview | dict[str, Any], targets: list[web.WebSocketResponse]) -> None:
        frame = _preview_frame(message) if isinstance(message, frames.Preview) else json_text.dumps(message)
        for socket in targets:
            await _quietly(socket, frame)

    async def sent(self) -> None:
        """Wait until everything queued so far has been handed to the sockets."""
        await self._idle.wait()

    async def tell(self, sid: str, kind: str, data: Mapping[str, Any]) -> None:
        """Send to one client at once, past what is queued, as ComfyUI's websocket handler does."""
        for socket in self._targets(sid):
            await _quietly(socket, json_text.dumps({"type": kind, "data": data}))

    def drop(self, sid: str | None = None) -> int:
        """Cut the connection of one client, or of all, without a close frame; how many there were."""
        if sid is None:
            dropped = list(self._open)
        else:
            dropped = [self._connections[sid].socket] if sid in self._connections else []
        for socket in dropped:
            abort(socket)
        return len(dropped)


def _preview_frame(preview: frames.Preview) -> bytes:
    """The frame that the client's flags, asked when the preview was made, call for."""
    if preview.metadata is None:
        return frames.preview_frame(preview.image, preview.mime)
    return frames.preview_frame_with_metadata(preview.image, {**preview.metadata, "image_type": preview.mime})


async def _quietly(socket: web.WebSocketResponse, frame: str | bytes) -> None:
    """Send, and let go of a client that went away; its handler sees the close."""
    try:
        await (socket.send_str(frame) if isinstance(frame, str) else socket.send_bytes(frame))
    except (ClientConnectionError, ConnectionError):
        return


def abort(response: web.WebSocketResponse) -> None:
    """End a socket's TCP connection at once."""
    request = response._req
    if request is not None and request.transport is not None:
        request.transport.abort()
