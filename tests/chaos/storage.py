"""Trouble with the database's file: a full disk, and another program that locks it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from chaos.life import Life

from gateway.api.services import Services
from gateway.storage.writer import Writer

ROOMY = 1 << 30  # pages

# What the gateway says while it cannot write, and must not say otherwise.
SAYS = frozenset(
    {
        "job.end_not_yet_stored",
        "job.not_accepted",
        "runner.message_not_followed",
        "runner.not_reconciled",
        "runner.not_emptied",
        "request.storage",
        "database unavailable",
    }
)


class StorageTrouble:
    """``happened`` from the first trouble on."""

    def __init__(self, path: Path) -> None:
        self.happened = False
        self._path = path
        self._locker: sqlite3.Connection | None = None

    async def fill(self, life: Life, *, pages: int) -> None:
        """SQLite's own bound of a file: beyond it, and beyond what is free in it, a write fails as on a full disk."""
        self.happened = True
        await self._bound(life, pages)

    async def make_room(self, life: Life) -> None:
        """The disk is not full any more."""
        await self._bound(life, ROOMY)

    async def _bound(self, life: Life, pages: int) -> None:
        """In the thread that writes, between two of its batches: what is queued must not keep this waiting."""

        def bound(writer: Writer) -> None:
            if writer._connection is not None:
                driver = writer._connection.connection.dbapi_connection
                assert driver is not None
                driver.execute(f"PRAGMA max_page_count = {pages}").close()

        async def submit(rooms: Services) -> None:
            rooms.db._writer._thread.submit(bound, rooms.db._writer)

        await life.run(submit)  # which returns also where the gateway is killed meanwhile

    def lock(self) -> bool:
        """Returns whether nobody was writing just now."""
        self.happened = True
        other = sqlite3.connect(self._path, isolation_level=None, timeout=0)
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            other.close()
            return False
        self._locker = other
        return True

    def unlock(self) -> None:
        """Twice is no mistake."""
        locker, self._locker = self._locker, None
        if locker is not None:
            locker.close()
