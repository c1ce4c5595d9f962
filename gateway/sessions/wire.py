"""The way out of one websocket: what waits goes out in one piece, of many frames where they are small. When it is sent,
and what is left out for a slow client, is the session's business.

aiohttp writes each frame by itself, which for a flood of small ones costs more than all that the gateway does with
them. So plain frames are made here (RFC 6455, section 5.2; a server masks nothing). For a client that has negotiated
compression texts are compressed by aiohttp; binary frames are pictures, which get no smaller, and stay plain (RFC 7692,
section 6, leaves that to each message).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from aiohttp import WSMsgType, web

TOGETHER_BYTES = 64 * 1024
COPIED_BYTES_MOST = 16 * 1024  # frames that are larger on an average are not copied into one piece

_TEXT: Final = 0x80 | WSMsgType.TEXT  # with the mark of a message's last frame: messages are not divided
_BINARY: Final = 0x80 | WSMsgType.BINARY
_SHORT: Final = struct.Struct("!BB")
_MIDDLE: Final = struct.Struct("!BBH")
_LONG: Final = struct.Struct("!BBQ")


class Wire:
    """One websocket that stands."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self._socket = socket
        self._request = request

    @property
    def is_open(self) -> bool:
        """False once nothing can be sent any more."""
        transport = self._request.transport
        return not self._socket.closed and transport is not None and not transport.is_closing()

    @property
    def together(self) -> int:
        """Bytes of frames that are worth handing over together; 0: one frame at a time."""
        return 0 if self._socket.compress else TOGETHER_BYTES

    async def send(self, frames: Sequence[str | bytes]) -> None:
        """Sends frames, and returns when there is room for more.

        Raises:
            ConnectionError: the client is gone.
        """
        if self._socket.compress:
            for frame in frames:
                await (self._socket.send_str(frame) if isinstance(frame, str) else self._send_plain([frame]))
        else:
            await self._send_plain(frames)

    async def _send_plain(self, frames: Sequence[str | bytes]) -> None:
        transport = self._request.transport
        if transport is None:
            raise ConnectionResetError("the client is gone")
        pieces = [piece for frame in frames for piece in framed(frame)]
        if sum(map(len, pieces)) > COPIED_BYTES_MOST * len(frames):
            transport.writelines(pieces)
        else:
            transport.write(b"".join(pieces))
        await self._request.writer.drain()

    async def close(self, code: int, reason: bytes) -> None:
        """Closes the websocket in the orderly way, which needs the client's answer."""
        await self._socket.close(code=code, message=reason)

    def cut(self) -> None:
        """Cuts the connection."""
        if self._request.transport is not None:
            self._request.transport.abort()


def framed(frame: str | bytes) -> tuple[bytes, bytes]:
    """A text or binary message as one frame of a server: its head and its payload."""
    if isinstance(frame, str):
        payload, first = frame.encode(), _TEXT
    else:
        payload, first = frame, _BINARY
    size = len(payload)
    if size < 126:
        return _SHORT.pack(first, size), payload
    if size < 65_536:
        return _MIDDLE.pack(first, 126, size), payload
    return _LONG.pack(first, 127, size), payload
