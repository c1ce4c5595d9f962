"""Rows of workflows, and where each of them stands by its job's row, which has the same id. What a standing means is
the business of `gateway.workflows`.

Functions that change something return an Operation for `Database.write`; the others read.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from sqlalchemy import Select, and_, bindparam, case, delete, func, insert, literal, select, update

from gateway.storage.database import Database, Operation
from gateway.storage.schema import jobs, workflows
from gateway.storage.writer import values_of

UNSUBMITTED: Final = "unsubmitted"  # a standing: it has no job yet
GONE: Final = "gone"  # a standing: it had a job, and the database has it no more


@dataclass(slots=True)
class WorkflowRow:
    """One workflow as it was created, and what came of its submission. Times are milliseconds since the epoch; bytes
    hold JSON."""

    id: str  # its job's, too
    seq: int  # order of creation, unique
    owner: str
    name: str
    tags: bytes  # as its creator gave them
    seed: int  # of its random numbers
    created_at: int  # also its `$timestamp()`
    params: bytes  # pairs of a placeholder and its value
    graph: bytes  # with its placeholders
    terms: bytes  # on which its job is taken in
    template_id: str | None = None
    template_version: int | None = None
    answered_at: int | None = None  # when its job was accepted or refused
    refused: str | None = None  # "invalid" or "failed", where there is no job and will be none
    refusal: bytes | None = None  # why


@dataclass(frozen=True, slots=True)
class WorkflowHead:
    """What a listing needs of a workflow. ``standing``: its job's state, `refused`, UNSUBMITTED or GONE."""

    id: str
    name: str
    tags: bytes
    created_at: int
    answered_at: int | None
    standing: str
    started_at: int | None
    ended_at: int | None


@dataclass(frozen=True, slots=True)
class WorkflowSeen:
    """A workflow with where it stands, as in WorkflowHead; ``runner`` and ``summary`` are its job's."""

    row: WorkflowRow
    standing: str
    started_at: int | None
    ended_at: int | None
    runner: str | None
    summary: bytes | None

    @property
    def head(self) -> WorkflowHead:
        """What a listing shows of it."""
        row = self.row
        of_job = (self.standing, self.started_at, self.ended_at)
        return WorkflowHead(row.id, row.name, row.tags, row.created_at, row.answered_at, *of_job)


_COLUMNS = [workflows.c[field.name] for field in fields(WorkflowRow)]
_THEIR_JOBS = workflows.outerjoin(jobs, and_(jobs.c.id == workflows.c.id, jobs.c.owner == workflows.c.owner))
_STANDING = case(
    (jobs.c.id.is_not(None), jobs.c.state),
    (workflows.c.refused.is_not(None), workflows.c.refused),
    (workflows.c.answered_at.is_not(None), literal(GONE)),
    else_=literal(UNSUBMITTED),
)
_HEAD_COLUMNS = [
    *(workflows.c[name] for name in ("id", "name", "tags", "created_at", "answered_at")),
    _STANDING,
    jobs.c.started_at,
    jobs.c.ended_at,
]

_insert = insert(workflows)
_answer = (
    update(workflows)
    .where(workflows.c.id == bindparam("key"))
    .values({name: bindparam(f"new_{name}") for name in ("answered_at", "refused", "refusal")})
)
_delete = delete(workflows).where(workflows.c.id == bindparam("key"))


def insert_workflow(row: WorkflowRow) -> Operation:
    """Add a workflow; Conflict if its id or its seq is taken."""
    return Operation(_insert, values_of(row))


def answer_workflow(id: str, answered_at: int, refused: str | None = None, refusal: bytes | None = None) -> Operation:  # noqa: A002
    """Note what came of its submission; one that is gone is left alone."""
    columns = {"new_answered_at": answered_at, "new_refused": refused, "new_refusal": refusal}
    return Operation(_answer, {"key": id, **columns})


def delete_workflow(id: str) -> Operation:  # noqa: A002  the column's name
    """Remove a workflow; its job is left alone."""
    return Operation(_delete, {"key": id})


async def load_workflow(db: Database, id: str) -> WorkflowRow | None:  # noqa: A002  the column's name
    """One workflow, without its job."""
    rows = await db.read(select(*_COLUMNS).where(workflows.c.id == id))
    return _row(rows[0]) if rows else None


async def see_workflow(db: Database, id: str) -> WorkflowSeen | None:  # noqa: A002  the column's name
    """One workflow with where it stands."""
    of_job = (_STANDING, jobs.c.started_at, jobs.c.ended_at, jobs.c.runner, jobs.c.summary)
    rows = await db.read(select(*_COLUMNS, *of_job).select_from(_THEIR_JOBS).where(workflows.c.id == id))
    if not rows:
        return None
    own = len(_COLUMNS)
    found = _values(rows[0])
    return WorkflowSeen(_row(found[:own]), *found[own:])


async def list_workflows(
    db: Database, *, owner: str | None, standings: Collection[str] | None, offset: int, limit: int
) -> tuple[list[WorkflowHead], int]:
    """A page of an owner's workflows, or with None of everyone's, newest first; and how many there are on all pages.

    ``standings`` None: wherever they stand.
    """
    page = _of(select(*_HEAD_COLUMNS), owner, standings).order_by(workflows.c.seq.desc()).offset(offset).limit(limit)
    total = await db.read(_of(select(func.count()), owner, standings))
    return [WorkflowHead(*_values(row)) for row in await db.read(page)], int(total[0][0])


async def recent_on_runner(db: Database, runner: str, *, owner: str | None, limit: int) -> list[WorkflowHead]:
    """The newest workflows whose last attempt was on that runner: of an owner, or with None of everyone's."""
    query = _of(select(*_HEAD_COLUMNS), owner, None).where(jobs.c.runner == runner)
    return [WorkflowHead(*_values(row)) for row in await db.read(query.order_by(workflows.c.seq.desc()).limit(limit))]


async def load_unanswered(db: Database) -> list[tuple[str, str, bool]]:
    """Workflows whose submission has had no answer, in their order: id, owner, and whether a job of theirs is there."""
    query = select(workflows.c.id, workflows.c.owner, jobs.c.id.is_not(None)).select_from(_THEIR_JOBS)
    rows = await db.read(query.where(workflows.c.answered_at.is_(None)).order_by(workflows.c.seq))
    found = (_values(row) for row in rows)
    return [(str(id_), str(owner), bool(has_job)) for id_, owner, has_job in found]


async def highest_workflow_seq(db: Database) -> int:
    """The last seq given out, 0 in a new database."""
    rows = await db.read(select(func.coalesce(func.max(workflows.c.seq), 0)))
    return int(rows[0][0])


async def workflow_exists(db: Database, id: str) -> bool:  # noqa: A002  the column's name
    """Whether there is a workflow of that id."""
    return bool(await db.read(select(workflows.c.id).where(workflows.c.id == id)))


def _of(query: Select[Any], owner: str | None, standings: Collection[str] | None) -> Select[Any]:
    query = query.select_from(_THEIR_JOBS)
    if owner is not None:
        query = query.where(workflows.c.owner == owner)
    return query if standings is None else query.where(_STANDING.in_(list(standings)))


def _row(values: Sequence[Any]) -> WorkflowRow:
    return WorkflowRow(*values)


def _values(row: Sequence[Any]) -> Any:
    return row
