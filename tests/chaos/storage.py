"""Trouble with the database's file: a full disk, and another program that locks it."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

from chaos.life import Life
from sqlalchemy import text

from gateway.storage.database import Operation
from gateway.storage.errors import StorageError

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
        with suppress(StorageError):
            await life.run(lambda rooms: rooms.db.write(_bound(pages)))

    async def make_room(self, life: Life) -> None:
        """The disk is not full any more."""
        with suppress(StorageError):
            await life.run(lambda rooms: rooms.db.write(_bound(ROOMY)))

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


def _bound(pages: int) -> Operation:
    return Operation(text(f"PRAGMA max_page_count = {pages}"))
