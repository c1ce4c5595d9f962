"""What only SQLite needs: engines with their pragmas, the lock file of a database, and what its error codes mean."""

import fcntl
import os
import sqlite3
from pathlib import Path
from typing import Literal

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from gateway.storage.errors import Conflict, DatabaseUnavailable, StorageError

Synchronous = Literal["full", "normal"]

_UNAVAILABLE: dict[int, str] = {
    sqlite3.SQLITE_BUSY: "another program holds a lock on it",
    sqlite3.SQLITE_LOCKED: "another connection holds a lock on it",
    sqlite3.SQLITE_NOMEM: "out of memory",
    sqlite3.SQLITE_READONLY: "it is read-only: give the gateway the right to write to the file and its folder",
    sqlite3.SQLITE_IOERR: "the disk reports an I/O error",
    sqlite3.SQLITE_FULL: "the disk is full: free some space",
    sqlite3.SQLITE_CANTOPEN: "the file can't be opened: look at its folder and the rights on it",
    sqlite3.SQLITE_PERM: "the gateway has no right to open it",
}
_DAMAGED: dict[int, str] = {
    sqlite3.SQLITE_CORRUPT: "the file is damaged",
    sqlite3.SQLITE_NOTADB: "the file is not an SQLite database",
}
_WHAT_TO_DO = "The gateway has not touched it: restore a backup, repair it with `sqlite3 .recover`, or move it away."


def damaged(path: Path, what: str) -> StorageError:
    """The error for a file that can't be used as it is, with what to do about it."""
    return StorageError(f"database {path}: {what}. {_WHAT_TO_DO}")


def translate(error: Exception, path: Path) -> StorageError:
    """Say a driver's or SQLAlchemy's error as one of the storage family, by SQLite's result code."""
    if isinstance(error, StorageError):
        return error
    if isinstance(error, IntegrityError):
        return Conflict(f"database {path}: {error.orig}")
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary code
    if code in _UNAVAILABLE:
        return DatabaseUnavailable(f"database {path}: {_UNAVAILABLE[code]} ({cause})")
    if code in _DAMAGED:
        return damaged(path, f"{_DAMAGED[code]} ({cause})")
    return StorageError(f"database {path}: {type(cause).__name__}: {cause}")


def writing_engine(path: Path, synchronous: Synchronous, busy_timeout: int) -> Engine:
    """An engine for the one connection that writes; its thread may change, so long as one at a time uses it."""
    engine = create_engine(_url("sqlite", path), connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def configure(connection: DBAPIConnection, _record: object) -> None:
        # Without this the driver opens transactions by itself, too late to hold schema changes.
        connection.isolation_level = None
        _pragmas(connection, busy_timeout=busy_timeout, synchronous=synchronous)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def reading_engine(path: Path, connections: int, busy_timeout: int) -> AsyncEngine:
    """An engine with a pool of that many connections that can only read."""
    engine = create_async_engine(_url("sqlite+aiosqlite", path), pool_size=connections, max_overflow=0)

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: DBAPIConnection, _record: object) -> None:
        _pragmas(connection, busy_timeout=busy_timeout, query_only=1)

    return engine


def check(connection: Connection, path: Path) -> None:
    """Read the file through and raise StorageError if it is damaged. Takes time in proportion to the file's size."""
    verdict = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if verdict != "ok":
        raise damaged(path, f"the file is damaged ({verdict})")


def use_write_ahead_log(connection: Connection) -> None:
    """Let readers and the writer work at the same time, from now on; not within a transaction.

    Where the file system can't (some network ones) the database works without, and readers wait.
    """
    connection.connection.cursor().execute("PRAGMA journal_mode = wal").close()


def _url(driver: str, path: Path) -> URL:
    return URL.create(driver, database=str(path))


def _pragmas(connection: DBAPIConnection, **pragmas: str | int) -> None:
    cursor = connection.cursor()
    for name, value in pragmas.items():
        cursor.execute(f"PRAGMA {name} = {value}")
    cursor.execute("PRAGMA foreign_keys = 1")
    cursor.close()


class FileLock:
    """An exclusive lock held through a file beside the database, so that two gateways can't share one.

    The operating system lets go of it when the process ends, however it ends. The file itself stays: removing it would
    let a third process lock a new one while a second still waits for the old.
    """

    def __init__(self, database: Path) -> None:
        """Take the lock; StorageError if another process (or this one) has it."""
        self.path = database.with_name(database.name + ".lock")
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise DatabaseUnavailable(f"database {database}: its lock file can't be opened: {error}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(self._file, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._file)
            message = f"database {database} is in use by another gateway (process {holder}): stop it, or give this one"
            raise StorageError(f"{message} another database") from error
        except OSError as error:
            os.close(self._file)
            raise StorageError(f"database {database}: its file system can't lock {self.path}: {error}") from error
        os.ftruncate(self._file, 0)
        os.write(self._file, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let another process have the database; once is enough."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
