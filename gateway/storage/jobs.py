"""Rows of jobs and of their attempts, and the queries on them. What a state means is the business of `gateway.jobs`.

Functions that change something return an Operation for `Database.write`; the others read.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    Row,
    Select,
    Table,
    Update,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from gateway.storage.database import Database, Operation
from gateway.storage.schema import attempts, jobs
from gateway.storage.writer import values_of

RowT = TypeVar("RowT")


@dataclass(slots=True)
class JobRow:
    """One job. Times are milliseconds since the epoch; bytes hold JSON."""

    id: str  # the prompt_id that the client sees
    seq: int  # order of acceptance, unique
    number: float
    owner: str  # "" without authentication
    client_id: str | None
    state: str
    prompt: bytes
    extra_data: bytes  # without secrets
    request: bytes  # front, partial_execution_targets, tags, priority …
    outputs_to_execute: bytes
    created_at: int
    runner: str | None = None  # of the last attempt
    started_at: int | None = None
    ended_at: int | None = None
    entry: bytes | None = None  # the history entry as clients see it, once ended
    summary: bytes | None = None  # the row of /api/jobs, once ended
    reason: str | None = None
    workflow_id: str | None = None
    hidden: bool = False  # deleted from the history
    told: bool = False  # its client has heard of its end, or there is none to hear of it
    wish: str | None = None  # what its client has asked for, "cancel" or "delete", until it is carried out
    secrets: bytes | None = None  # of its extra_data, sealed, until its end
    changes: bytes | None = None  # of its state, each with its time


@dataclass(slots=True)
class AttemptRow:
    """One dispatch of a job to a runner; `ordinal` counts from 1."""

    job_id: str
    ordinal: int
    runner: str
    runner_prompt_id: str
    state: str
    created_at: int
    started_at: int | None = None
    ended_at: int | None = None
    reason: str | None = None
    changes: bytes | None = None  # of its state, each with its time


@dataclass(frozen=True, slots=True)
class FinishedRow:
    """What a listing needs of an ended job: without its graph and its history entry."""

    id: str
    seq: int
    number: float
    owner: str
    state: str
    created_at: int
    started_at: int | None
    ended_at: int
    workflow_id: str | None
    summary: bytes | None


_JOB_COLUMNS = [jobs.c[field.name] for field in fields(JobRow)]
_ATTEMPT_COLUMNS = [attempts.c[field.name] for field in fields(AttemptRow)]
_FINISHED_COLUMNS = [jobs.c[field.name] for field in fields(FinishedRow)]

_insert_job = insert(jobs)
_delete_job = delete(jobs).where(jobs.c.id == bindparam("key"))
_delete_refused = _delete_job.where(jobs.c.seq == bindparam("key_seq"))
_insert_attempt = insert(attempts)
_hide_everyones = update(jobs).where(jobs.c.hidden.is_(False), jobs.c.ended_at.is_not(None)).values(hidden=True)
_hide_owners = _hide_everyones.where(jobs.c.owner == bindparam("of_owner"))


def insert_job(row: JobRow) -> Operation:
    """Add a job; Conflict if its id or its seq is taken."""
    return Operation(_insert_job, values_of(row), row.id)


def update_job(id: str, **columns: object) -> Operation:  # noqa: A002  the column's name
    """Set these columns of a job; an unknown job is left alone, an unknown column is a KeyError."""
    return Operation(_update_job(tuple(sorted(columns))), {"key": id, **_prefixed(columns)}, id)


def delete_job(id: str) -> Operation:  # noqa: A002  the column's name
    """Remove a job and its attempts as if they had never been."""
    return Operation(_delete_job, {"key": id}, id)


def delete_refused(id: str, seq: int) -> Operation:  # noqa: A002  the column's name
    """Remove a job that was not accepted, and never another one that has its id: it may not have been stored itself."""
    return Operation(_delete_refused, {"key": id, "key_seq": seq}, id)


def insert_attempt(row: AttemptRow) -> Operation:
    """Add an attempt; Conflict if its job is unknown or has that ordinal."""
    return Operation(_insert_attempt, values_of(row), row.job_id)


def update_attempt(job_id: str, ordinal: int, **columns: object) -> Operation:
    """Set these columns of an attempt."""
    key = {"key": job_id, "key_ordinal": ordinal}
    return Operation(_update_attempt(tuple(sorted(columns))), key | _prefixed(columns), job_id)


def hide_jobs(ids: Collection[str]) -> Operation:
    """Take these jobs out of the history; unfinished and unknown ones are left alone."""
    return Operation(_hide_everyones.where(jobs.c.id.in_(list(ids))))


def hide_all(owner: str | None) -> Operation:
    """Take all ended jobs of an owner, or with None of everyone, out of the history."""
    if owner is None:
        return Operation(_hide_everyones)
    return Operation(_hide_owners, {"of_owner": owner})


async def load_job(db: Database, id: str) -> JobRow | None:  # noqa: A002  the column's name
    """One job, hidden or not."""
    rows = await db.read(select(*_JOB_COLUMNS).where(jobs.c.id == id))
    return _made(JobRow, rows[0]) if rows else None


async def owner_of(db: Database, id: str) -> str | None:  # noqa: A002  the column's name
    """Whose job has that id, if one was ever accepted (and not deleted), hidden or not."""
    found = await db.read(select(jobs.c.owner).where(jobs.c.id == id))
    return str(found[0][0]) if found else None


async def load_unfinished(db: Database) -> list[JobRow]:
    """The jobs without an end, in order of acceptance."""
    rows = await db.read(select(*_JOB_COLUMNS).where(jobs.c.ended_at.is_(None)).order_by(jobs.c.seq))
    return [_made(JobRow, row) for row in rows]


async def load_untold(db: Database, *, ended_since: int, newest: int) -> list[str]:
    """The ids of jobs that have ended since then (ms) and whose client has not heard of it, oldest end first."""
    untold = (jobs.c.ended_at >= ended_since, jobs.c.told.is_(False), jobs.c.entry.is_not(None))
    rows = await db.read(
        select(jobs.c.id).where(*untold).order_by(jobs.c.ended_at.desc(), jobs.c.seq.desc()).limit(newest)
    )
    return [str(row[0]) for row in rows[::-1]]


async def load_attempts(db: Database, job_id: str) -> list[AttemptRow]:
    """The attempts of a job, in their order."""
    query = select(*_ATTEMPT_COLUMNS).where(attempts.c.job_id == job_id).order_by(attempts.c.ordinal)
    return [_made(AttemptRow, row) for row in await db.read(query)]


async def load_attempts_of_unfinished(db: Database) -> dict[str, list[AttemptRow]]:
    """The attempts of all jobs without an end that have some, by job and in their order."""
    query = select(*_ATTEMPT_COLUMNS).join(jobs, jobs.c.id == attempts.c.job_id).where(jobs.c.ended_at.is_(None))
    found: dict[str, list[AttemptRow]] = {}
    for row in await db.read(query.order_by(attempts.c.job_id, attempts.c.ordinal)):
        attempt = _made(AttemptRow, row)
        found.setdefault(attempt.job_id, []).append(attempt)
    return found


async def highest_seq(db: Database) -> int:
    """The last seq given out, 0 in a new database."""
    rows = await db.read(select(func.coalesce(func.max(jobs.c.seq), 0)))
    return int(rows[0][0])


async def load_finished_rows(
    db: Database, *, owner: str | None = None, newest: int | None = None, offset: int = 0, limit: int | None = None
) -> list[FinishedRow]:
    """What a listing needs of ended jobs that aren't hidden, oldest end first: of one owner, or with None of everyone.

    `newest` takes that many from the end (ComfyUI's `max_items` alone); `offset` and `limit` count from the oldest
    (ComfyUI's `max_items` with an `offset`). With `newest` the other two are ignored.
    """
    rows = await _finished(db, select(*_FINISHED_COLUMNS), owner, newest, offset, limit)
    return [_made(FinishedRow, row) for row in rows]


async def load_entries(
    db: Database, *, owner: str | None = None, newest: int | None = None, offset: int = 0, limit: int | None = None
) -> list[tuple[str, bytes]]:
    """As `load_finished_rows`: ids with their history entries, of those that have one."""
    rows = await _finished(db, select(jobs.c.id, jobs.c.entry), owner, newest, offset, limit)
    return [(row.id, row.entry) for row in rows if row.entry is not None]


async def load_owners(db: Database) -> list[str]:
    """Whose jobs there are, ended or not. Each costs one step in an index, however many jobs it has."""
    found: list[str] = []
    after: tuple[ColumnElement[bool], ...] = ()
    while (owner := (await db.read(select(func.min(jobs.c.owner)).where(*after)))[0][0]) is not None:
        found.append(str(owner))
        after = (jobs.c.owner > owner,)
    return found


async def _finished(
    db: Database, query: Select[Any], owner: str | None, newest: int | None, offset: int, limit: int | None
) -> Sequence[Row[Any]]:
    query = _of_history(query, owner)
    if newest is not None:
        rows = await db.read(query.order_by(jobs.c.ended_at.desc(), jobs.c.seq.desc()).limit(max(newest, 0)))
        return rows[::-1]
    return await db.read(query.order_by(jobs.c.ended_at, jobs.c.seq).offset(max(offset, 0)).limit(limit))


def _of_history(query: Select[Any], owner: str | None) -> Select[Any]:
    query = query.where(jobs.c.hidden.is_(False), jobs.c.ended_at.is_not(None))
    return query if owner is None else query.where(jobs.c.owner == owner)


@lru_cache(maxsize=256)
def _update_job(columns: tuple[str, ...]) -> Update:
    return update(jobs).where(jobs.c.id == bindparam("key")).values(_bound(jobs, columns))


@lru_cache(maxsize=256)
def _update_attempt(columns: tuple[str, ...]) -> Update:
    this = (attempts.c.job_id == bindparam("key"), attempts.c.ordinal == bindparam("key_ordinal"))
    return update(attempts).where(*this).values(_bound(attempts, columns))


def _bound(table: Table, columns: Iterable[str]) -> dict[Column[Any], Any]:
    return {table.c[name]: bindparam(f"new_{name}") for name in columns}


def _prefixed(columns: Mapping[str, object]) -> dict[str, object]:
    return {f"new_{name}": value for name, value in columns.items()}


def _made(kind: Callable[..., RowT], row: Sequence[Any]) -> RowT:
    return kind(*row)
