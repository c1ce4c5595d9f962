"""Finding out that a client is gone without a word: pings, and what counts as a sign of life.

aiohttp's own heartbeat counts only what a client sends. A client that takes a result of tens of MB over a slow line
sends nothing meanwhile, and its answer to a ping comes after the picture: it would be cut off in the middle, again and
again.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog
from aiohttp import web

SILENT_BEATS_MOST = 2  # what lies in the system's buffers is before a ping, and cannot be seen from here

log = structlog.get_logger(__name__)


class Heartbeat:
    """Watches one socket. Signs of life are frames of the client, and that it takes what it is sent."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport, seconds: float) -> None:
        self._socket = socket
        self._transport = transport
        self._seconds = seconds
        self._is_heard = False
        self._sent = 0

    def heard(self) -> None:
        """The client has sent a frame, an answer to a ping included."""
        self._is_heard = True

    def sent(self) -> None:
        """The client has taken what it was sent."""
        self._sent += 1

    async def run(self) -> None:
        """Pings until the socket closes, or the client shows no sign of life: then the connection is cut."""
        silent = 0
        await asyncio.sleep(self._seconds)
        while not self._socket.closed and silent < SILENT_BEATS_MOST:
            silent = 0 if await self._beat() else silent + 1
        if not self._socket.closed:
            log.info("session.silent", seconds=self._seconds * SILENT_BEATS_MOST)
            self._transport.abort()

    async def _beat(self) -> bool:
        """Whether there was a sign of life for as long as one beat takes."""
        self._is_heard = False
        sent, waiting = self._sent, self._transport.get_write_buffer_size()
        if not waiting:
            with suppress(ConnectionError):  # it closes just now
                await self._socket.ping()
        await asyncio.sleep(self._seconds)
        takes = self._sent > sent or self._transport.get_write_buffer_size() < waiting
        # What fits into the system's buffers goes out whether or not anybody is there.
        return self._is_heard or (waiting > 0 and takes)
