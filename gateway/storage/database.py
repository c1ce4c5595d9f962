"""The database: opening, writing in groups, reading. The tables are in `schema`, the queries in the modules beside.

One connection writes (see `writer`), a few read; with SQLite's write-ahead log neither waits for the other.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Engine, Executable, Row, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.storage import migrations, sqlite
from gateway.storage.errors import Conflict, DatabaseUnavailable, StorageError
from gateway.storage.writer import Operation, Writer

__all__ = ["Conflict", "Database", "DatabaseUnavailable", "Operation", "StorageError"]

READERS = 4  # connections
BUSY_TIMEOUT = 5_000  # milliseconds to wait for another program's lock
QUICK_CHECK_MAX = 256 * 1024 * 1024  # bytes: a larger file isn't read through at every start


class Database:
    """An open database. Made by `open`; use it from the event loop that opened it."""

    def __init__(self, path: Path, lock: sqlite.FileLock | None, engine: Engine, readers: AsyncEngine) -> None:
        self.path = path
        self._lock = lock
        self._engine = engine
        self._readers = readers
        self._writer = Writer(engine, self._translate)

    @classmethod
    async def open(cls, url: str, *, synchronous: str = "full", busy_timeout: int = BUSY_TIMEOUT) -> Self:
        """Open, or create with its folder, and migrate to the newest schema.

        `url` is SQLAlchemy's, as `sqlite:///data/gateway.db`. `synchronous` is "full" (a commit survives a loss of
        power) or "normal" (it survives a crash of the gateway; a loss of power may take the last commits).
        `busy_timeout` is in milliseconds. Raises StorageError for a database that is damaged, of a newer gateway, of
        another program, or in use by another gateway: it is left as it was found.
        """
        path = _path_of(url)
        mode = _synchronous(synchronous)
        await asyncio.to_thread(_make_folder, path)
        lock = sqlite.FileLock(path)
        engine = sqlite.writing_engine(path, mode, busy_timeout)
        try:
            await asyncio.to_thread(_prepare, engine, path)
        except BaseException:
            engine.dispose()
            lock.release()
            raise
        return cls(path, lock, engine, sqlite.reading_engine(path, READERS, busy_timeout))

    @classmethod
    async def join(cls, url: str, *, busy_timeout: int = BUSY_TIMEOUT) -> Self:
        """Open beside a gateway that may be serving it, for a few small writes to what that gateway reads again.

        Where nobody has made or migrated it yet, it is opened as by a gateway. Raises StorageError as `open` does.
        """
        path = _path_of(url)
        if not await asyncio.to_thread(_is_ready, path, busy_timeout):
            return await cls.open(url, busy_timeout=busy_timeout)
        engine = sqlite.writing_engine(path, "full", busy_timeout)
        return cls(path, None, engine, sqlite.reading_engine(path, READERS, busy_timeout))

    async def close(self) -> None:
        """Write everything queued and let go of the file."""
        await self._writer.close()
        await self._readers.dispose()
        await asyncio.to_thread(self._engine.dispose)
        if self._lock is not None:
            self._lock.release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def write(self, *operations: Operation) -> asyncio.Future[None]:
        """Queue the operations as one atomic group, now: calls are applied in their order.

        The future resolves once the group is committed; it gets DatabaseUnavailable, Conflict or another StorageError
        if nothing of the group was written. Cancelling the future doesn't take the group back.
        """
        return self._writer.submit(operations)

    def write_behind(self, *operations: Operation) -> None:
        """As `write`, for what nobody waits for.

        While the database is unavailable the group is kept, before later ones, and tried again; any other failure is
        logged as an error.
        """
        self._writer.submit_behind(operations)

    @property
    def pending_writes(self) -> int:
        """Groups of operations that wait to be written."""
        return self._writer.pending

    def watch_commits(self, on_commit: Callable[[int, float], None]) -> None:
        """Have a function told of every batch of writes: how many operations, and how many seconds it took."""
        self._writer.on_commit = on_commit

    async def read(self, statement: Executable, params: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        """All rows of a query, as of the last commit; StorageError if it can't be read."""
        try:
            async with self._readers.connect() as connection:
                return (await connection.execute(statement, params)).all()
        except SQLAlchemyError as error:
            raise self._translate(error) from error

    async def flushed(self) -> None:
        """Return once all that was queued before is committed; DatabaseUnavailable while it can't be."""
        await self._writer.submit(())

    def _translate(self, error: Exception) -> StorageError:
        translated = sqlite.translate(error, self.path)
        if translated is not error:
            translated.__cause__ = error
        return translated


def _path_of(url: str) -> Path:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StorageError(f"database {url!r}: not a URL like sqlite:///data/gateway.db") from error
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        raise StorageError(f"database {parsed.render_as_string()!r}: only sqlite:///<file> is supported")
    return Path(str(parsed.database)).expanduser().absolute()


def _synchronous(value: str) -> sqlite.Synchronous:
    if value == "full":
        return "full"
    if value == "normal":
        return "normal"
    raise StorageError(f'database: synchronous is "full" or "normal", not {value!r}')


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseUnavailable(f"database {path}: its folder can't be made: {error}") from error


def _is_ready(path: Path, busy_timeout: int) -> bool:
    """Whether it is there, with the newest schema."""
    if not path.is_file():
        return False
    engine = sqlite.writing_engine(path, "full", busy_timeout)
    try:
        with engine.connect() as connection, connection.begin():
            return migrations.is_newest(connection)
    except SQLAlchemyError as error:
        raise sqlite.translate(error, path) from error
    finally:
        engine.dispose()


def _prepare(engine: Engine, path: Path) -> None:
    """Look whether the file is sound and ours, migrate it, and only then change how it is kept."""
    try:
        with engine.connect() as connection:
            if path.stat().st_size <= QUICK_CHECK_MAX:
                with connection.begin():
                    sqlite.check(connection, path)
            with connection.begin():
                migrations.upgrade(connection, str(path))
            sqlite.use_write_ahead_log(connection)
    except SQLAlchemyError as error:
        raise sqlite.translate(error, path) from error
