"""HTTP as bytes, for what no client library sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

PATIENCE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: ``headers`` by lower-case name, the last of each."""

    status: int
    headers: dict[str, str]
    body: bytes


class Connection:
    """One TCP connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @asynccontextmanager
    async def to(cls, base: str) -> AsyncIterator[Connection]:
        """A connection to the host of this URL."""
        parts = urlsplit(base)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            yield cls(reader, writer)
        finally:
            writer.close()

    async def send(self, data: bytes) -> None:
        """Sends bytes. A server that has closed already is no error here."""
        self.writer.write(data)
        try:
            await asyncio.wait_for(self.writer.drain(), PATIENCE_SECONDS)
        except ConnectionError:
            return

    async def answer(self) -> Answer:
        """The next answer. Raises IncompleteReadError where the server closes instead."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *rest = head.split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in rest if each)}
            length = int(headers.get("content-length", "0"))
            return Answer(int(line.split(" ")[1]), headers, await self.reader.readexactly(length))

    async def rest(self) -> bytes:
        """What comes until the server closes; fails when it does not."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                return await self.reader.read(-1)
            except ConnectionError:
                return b""


async def ask(base: str, target: str, *, method: str = "GET", headers: str = "", body: bytes = b"") -> Answer:
    """One request with this very target on a connection of its own; ``headers`` are whole lines with CR LF."""
    async with Connection.to(base) as connection:
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        head = (
            f"{method} {target} HTTP/1.1\r\nHost: {urlsplit(base).netloc}\r\n{headers}{length}Connection: close\r\n\r\n"
        )
        await connection.send(head.encode("latin-1") + body)
        return await connection.answer()
