"""Connections of clients, and an end to those whose client does not take what it is sent: such a one would hold its
answer, the file behind it and a socket for ever. Whatever is sent passes here: files, relayed streams, large answers,
websockets. A client that sends too slowly is none of this module's.

    what a connection does                              its time begins anew
    its buffer is over the high-water mark: paused      yes
    … and has become smaller by the next look           yes
    … and has not                                       no: past the patience the connection is aborted
    its buffer is below the low-water mark: resumed     it is no longer watched
    it is closed with bytes left in its buffer          as one that is paused

The buffer is that of the process; the system's is before it, so bytes that the client's machine takes count as taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import structlog
from aiohttp import web

LOOKS = 4  # within the patience

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Wait:
    """What a client has not taken yet, in bytes, and since when (the loop's time) it has been no less."""

    left: int
    since: float


class SlowReaders:
    """Watches connections whose clients are to take something.

    Args:
        patience_seconds: how long a client may take nothing.
        on_aborted: called for each connection that is aborted.
    """

    def __init__(self, patience_seconds: float, on_aborted: Callable[[], None]) -> None:
        self._patience_seconds = patience_seconds
        self._on_aborted = on_aborted
        self._open: set[asyncio.Transport] = set()
        self._waits: dict[asyncio.Transport, _Wait] = {}

    async def watch(self) -> None:
        """Looks from time to time, until it is cancelled."""
        while True:
            await asyncio.sleep(self._patience_seconds / LOOKS)
            self.look(asyncio.get_running_loop().time())

    def look(self, now: float) -> None:
        """Aborts the connections whose time is over. ``now`` is the loop's."""
        for transport in self._open:
            if transport.is_closing() and transport not in self._waits and transport.get_write_buffer_size():
                self.paused(transport, now)  # nothing more is written: it can only become less
        for transport, wait in list(self._waits.items()):
            left = transport.get_write_buffer_size()
            if left < wait.left:
                wait.since = now
            wait.left = left
            if now - wait.since >= self._patience_seconds:
                self._abort(transport, left)

    def opened(self, transport: asyncio.Transport) -> None:
        """A connection stands."""
        self._open.add(transport)

    def paused(self, transport: asyncio.Transport, now: float) -> None:
        """Its buffer is full."""
        self._waits[transport] = _Wait(transport.get_write_buffer_size(), now)

    def resumed(self, transport: asyncio.Transport) -> None:
        """Its buffer has room again."""
        self._waits.pop(transport, None)

    def closed(self, transport: asyncio.Transport) -> None:
        """A connection is gone."""
        self._open.discard(transport)
        self._waits.pop(transport, None)

    def _abort(self, transport: asyncio.Transport, left: int) -> None:
        peer = transport.get_extra_info("peername")
        log.info("client.too_slow", address=peer[0] if peer else None, bytes_left=left)
        self.closed(transport)
        transport.abort()
        self._on_aborted()


class Connection(web.RequestHandler):
    """aiohttp's side of a connection, which tells how its client takes what it is sent."""

    __slots__ = ("_readers", "_sent_over")

    def __init__(self, readers: SlowReaders, server: web.Server, **settings: Any) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **settings)
        self._readers = readers
        self._sent_over: asyncio.Transport | None = None  # also after aiohttp has let go of it

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._sent_over = cast(asyncio.Transport, transport)  # uvloop's have another base
        self._readers.opened(self._sent_over)
        super().connection_made(transport)

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        super().pause_writing()
        if self._sent_over is not None:
            self._readers.paused(self._sent_over, asyncio.get_running_loop().time())

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        super().resume_writing()
        if self._sent_over is not None:
            self._readers.resumed(self._sent_over)

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio.Protocol."""
        if self._sent_over is not None:
            self._readers.closed(self._sent_over)
        super().connection_lost(exc)
