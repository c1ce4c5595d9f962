"""Group commit: everything that waits to be written goes into one transaction. Knows operations, no tables.

A commit costs a flush of the disk, a row costs microseconds; so the writer takes whatever has come in since the last
commit, applies it in order, commits once and tells every caller. The whole batch is one hop into the writer's thread.

What nobody waits for waits for company: somebody who comes while the disk is flushed waits for two flushes instead of
one.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import Connection, Engine, Executable
from sqlalchemy.exc import SQLAlchemyError

from gateway.storage import statements
from gateway.storage.errors import DatabaseUnavailable, StorageError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

log = structlog.get_logger(__name__)

BATCH_MAX = 2_000  # operations in one transaction; one larger group is still one transaction
BEHIND_SECONDS = 0.02  # that what nobody waits for waits for a group that somebody does
RETRY_SECONDS = 1.0  # between attempts at what nobody waits for, while the database is unavailable
RETAINED_MAX = 100_000  # groups that nobody waits for, kept while the database is unavailable


@dataclass(frozen=True, slots=True)
class Operation:
    """One statement with its parameters. Equal statements must be the same object to be sent together.

    ``about`` names what alone it touches, so that it may change places with what is about something else; "": it keeps
    its place.
    """

    executable: Executable
    params: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""


def values_of(row: "DataclassInstance") -> dict[str, Any]:
    """A row's columns by name, as parameters of an insert; unlike `asdict` it copies nothing."""
    return {name: getattr(row, name) for name in row.__dataclass_fields__}


@dataclass(slots=True, eq=False)
class _Group:
    """What one caller wants written: all of it or nothing. Without a future nobody waits for it."""

    operations: tuple[Operation, ...]
    future: asyncio.Future[None] | None


class Writer:
    """Owns the one connection that writes, its thread, and the task that feeds it.

    `translate` turns a driver's error into one of the storage family. `on_commit` is told of every batch that was
    tried: how many operations, and how many seconds it took.
    """

    def __init__(self, engine: Engine, translate: Callable[[Exception], StorageError]) -> None:
        self._engine = engine
        self._translate = translate
        self._queue: deque[_Group] = deque()
        self._wake = asyncio.Event()
        self._waking: asyncio.TimerHandle | None = None
        self.on_commit: Callable[[int, float], None] = lambda _operations, _seconds: None
        self._closing = False
        self._unavailable = False
        self._connection: Connection | None = None
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="storage-writer")
        self._task = asyncio.create_task(self._run(), name="storage-writer")

    def submit(self, operations: Sequence[Operation]) -> asyncio.Future[None]:
        """Queue a group now; the future resolves once it is committed, or gets the StorageError.

        A caller that is cancelled while it waits changes nothing: the group is written all the same.
        """
        future = self._loop.create_future()
        if self._closing:
            future.set_exception(StorageError("the database is closed"))
        else:
            self._enqueue(_Group(tuple(operations), future))
        return future

    def submit_behind(self, operations: Sequence[Operation]) -> None:
        """Queue a group nobody waits for. It outlives an unavailable database; any other failure is logged."""
        group = _Group(tuple(operations), None)
        if self._closing:
            self._report(group, StorageError("the database is closed"))
        else:
            self._enqueue(group)

    @property
    def pending(self) -> int:
        """Groups that wait to be written."""
        return len(self._queue)

    async def close(self) -> None:
        """Write everything queued, then end the task, the connection and the thread."""
        self._closing = True
        self._wake.set()
        await asyncio.shield(self._task)

    def _enqueue(self, group: _Group) -> None:
        self._queue.append(group)
        if group.future is not None:
            self._wake.set()
        elif self._waking is None:
            self._waking = self._loop.call_later(BEHIND_SECONDS, self._wake.set)

    async def _run(self) -> None:
        try:
            while True:
                await self._work_to_do()
                groups = self._take()
                if groups:
                    began = self._loop.time()
                    errors = await self._loop.run_in_executor(self._thread, self._commit, groups)
                    self.on_commit(sum(len(group.operations) for group in groups), self._loop.time() - began)
                    self._settle(groups, errors)
                elif self._closing:
                    return
        finally:
            self._closing = True
            self._abandon(self._queue)
            # If this task was cancelled the thread may still be in a commit: this comes after it.
            await self._loop.run_in_executor(self._thread, self._disconnect)
            self._thread.shutdown(wait=False)

    async def _work_to_do(self) -> None:
        """Wait for a new group or, with groups kept from an unavailable database, for the time to try again."""
        retry_after = RETRY_SECONDS if self._unavailable and self._queue else None
        if not self._closing:
            try:
                await asyncio.wait_for(self._wake.wait(), retry_after)
            except TimeoutError:
                return
        self._wake.clear()

    def _take(self) -> list[_Group]:
        if self._waking is not None:
            self._waking.cancel()
            self._waking = None
        groups: list[_Group] = []
        size = 0
        while self._queue and (not groups or size + len(self._queue[0].operations) <= BATCH_MAX):
            group = self._queue.popleft()
            groups.append(group)
            size += len(group.operations)
        if self._queue:
            self._wake.set()
        return groups

    def _settle(self, groups: list[_Group], errors: list[StorageError | None]) -> None:
        """Tell the callers; keep, in their order, what nobody waits for and may succeed later."""
        kept: list[_Group] = []
        for group, error in zip(groups, errors, strict=True):
            retry = isinstance(error, DatabaseUnavailable) and group.future is None and not self._closing
            if retry and len(kept) + len(self._queue) < RETAINED_MAX:
                kept.append(group)
            elif error is not None:
                self._report(group, error)
            elif group.future is not None and not group.future.done():
                group.future.set_result(None)
        self._queue.extendleft(reversed(kept))
        self._note_availability(errors[-1])

    def _note_availability(self, error: StorageError | None) -> None:
        unavailable = isinstance(error, DatabaseUnavailable)
        if unavailable and not self._unavailable:
            log.error("database unavailable", error=str(error))
        elif self._unavailable and not unavailable:
            log.info("database available again")
        self._unavailable = unavailable

    def _report(self, group: _Group, error: StorageError) -> None:
        if group.future is not None and not group.future.done():
            group.future.set_exception(error)
        else:
            statements = [str(operation.executable) for operation in group.operations]
            log.error("write failed", error=str(error), statements=statements)

    def _abandon(self, groups: Iterable[_Group]) -> None:
        for group in groups:
            self._report(group, StorageError("the database was closed before this was written"))

    # What follows runs in the writer's thread.

    def _commit(self, groups: list[_Group]) -> list[StorageError | None]:
        """Commit all groups at once; if that fails, each by itself, so that only the guilty ones fail."""
        error = self._transaction(operation for group in groups for operation in group.operations)
        if error is None or len(groups) == 1 or isinstance(error, DatabaseUnavailable):
            return [error] * len(groups)
        errors: list[StorageError | None] = []
        for group in groups:
            errors.append(self._transaction(group.operations))
            if isinstance(errors[-1], DatabaseUnavailable):
                return errors + [errors[-1]] * (len(groups) - len(errors))
        return errors

    def _transaction(self, operations: Iterable[Operation]) -> StorageError | None:
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            with self._connection.begin():
                for executable, params in _runs(operations):
                    statements.execute(self._connection, executable, params)
        except Exception as error:  # noqa: BLE001  a driver also raises OverflowError and such: the caller gets it
            self._recover()
            return self._translate(error)
        return None

    def _recover(self) -> None:
        """After a failure: a connection that couldn't even roll back is replaced by a new one."""
        if self._connection is not None and (self._connection.in_transaction() or self._connection.invalidated):
            self._connection.invalidate()
            self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except SQLAlchemyError as error:
                log.warning("closing the writing connection failed", error=str(error))


def _runs(operations: Iterable[Operation]) -> Iterator[tuple[Executable, list[Mapping[str, Any]]]]:
    """Operations with the same statement become one statement with many parameters. The order of those that are about
    the same thing stays, and that of all to those about nothing."""
    runs: list[tuple[Executable, list[Mapping[str, Any]]]] = []
    newest: dict[int, int] = {}  # the run of a statement
    reached: dict[str, int] = {}  # the last run that is about something
    closed = 0  # runs before this one take no more
    for operation in operations:
        is_placed = not operation.about
        first = max(closed, len(runs) - 1) if is_placed else max(closed, reached.get(operation.about, 0))
        run = newest.get(id(operation.executable), -1)
        if run < first:
            run = newest[id(operation.executable)] = len(runs)
            runs.append((operation.executable, []))
        runs[run][1].append(operation.params)
        reached[operation.about] = run
        if is_placed:
            closed = run
    return iter(runs)
