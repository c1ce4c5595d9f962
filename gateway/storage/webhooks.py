"""Rows of webhooks: the outbox of deliveries, and each owner's signing secret. When one is tried, and what a state
means, is the business of `gateway.webhooks`.

Functions that change something return an Operation for `Database.write`; the others read.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert

from gateway.storage.database import Database, Operation
from gateway.storage.schema import jobs
from gateway.storage.schema import webhook_deliveries as deliveries
from gateway.storage.schema import webhook_secrets as secrets
from gateway.storage.writer import values_of

PENDING: Final = "pending"
FORGOTTEN_AT_ONCE: Final = 10_000  # rows


@dataclass(slots=True)
class DeliveryRow:
    """One message to one receiver. Times are milliseconds since the epoch.

    ``line``: what is told in order; ``target``: the receiver's origin; ``message_id``: the first delivery's id, which a
    replay repeats.
    """

    id: str
    seq: int
    message_id: str
    line: str
    target: str
    job_id: str
    owner: str
    url: str
    event: str
    created_at: int
    body: bytes
    state: str = PENDING
    attempts: int = 0
    next_at: int | None = None
    ended_at: int | None = None
    status: int | None = None  # the last answer's
    error: str | None = None  # why the last try failed


@dataclass(slots=True)
class SecretRow:
    """An owner's signing secret, sealed, and the one before it while that is still used. ``shown``: somebody has it."""

    owner: str
    sealed: bytes
    created_at: int
    shown: bool
    previous: bytes | None = None
    previous_until: int | None = None


_COLUMNS = [deliveries.c[field.name] for field in fields(DeliveryRow)]
_SECRET_COLUMNS = [secrets.c[field.name] for field in fields(SecretRow)]

_add = insert(deliveries).on_conflict_do_nothing(index_elements=[deliveries.c.id])
_tried = (
    update(deliveries)
    .where(deliveries.c.id == bindparam("key"))
    .values(
        {name: bindparam(f"new_{name}") for name in ("state", "attempts", "next_at", "ended_at", "status", "error")}
    )
)
_supersede = delete(deliveries).where(
    deliveries.c.line == bindparam("of_line"),
    deliveries.c.state == PENDING,
    deliveries.c.event == bindparam("of_event"),
)
_oldest = select(deliveries.c.id).where(deliveries.c.ended_at < bindparam("before")).limit(FORGOTTEN_AT_ONCE)
_forget = delete(deliveries).where(deliveries.c.id.in_(_oldest))
_put_secret = insert(secrets)
_put_secret = _put_secret.on_conflict_do_update(
    index_elements=[secrets.c.owner],
    set_={column.name: _put_secret.excluded[column.name] for column in secrets.c if not column.primary_key},
)


def add(row: DeliveryRow) -> Operation:
    """Put a delivery into the outbox; one that is there already is left as it is."""
    return Operation(_add, values_of(row))


def supersede(line: str, event: str) -> Operation:
    """Remove what of this kind is not delivered yet."""
    return Operation(_supersede, {"of_line": line, "of_event": event})


def tried(row: DeliveryRow) -> Operation:
    """Note what came of a try."""
    return Operation(
        _tried,
        {
            "key": row.id,
            "new_state": row.state,
            "new_attempts": row.attempts,
            "new_next_at": row.next_at,
            "new_ended_at": row.ended_at,
            "new_status": row.status,
            "new_error": row.error,
        },
    )


def forget(before: int) -> Operation:
    """Remove some of the deliveries that ended before then."""
    return Operation(_forget, {"before": before})


async def highest_seq(db: Database) -> int:
    """The last seq given out, 0 in a new database."""
    rows = await db.read(select(func.coalesce(func.max(deliveries.c.seq), 0)))
    return int(rows[0][0])


async def introduced(db: Database, event: str) -> set[str]:
    """The jobs that have not ended and of which this was told, or is about to be."""
    query = select(deliveries.c.job_id).join(jobs, jobs.c.id == deliveries.c.job_id).distinct()
    return {str(row[0]) for row in await db.read(query.where(deliveries.c.event == event, jobs.c.ended_at.is_(None)))}


async def targets(db: Database) -> list[str]:
    """The receivers that have something coming."""
    rows = await db.read(select(deliveries.c.target).where(deliveries.c.state == PENDING).distinct())
    return [str(row[0]) for row in rows]


async def outbox(db: Database) -> tuple[int, int | None]:
    """How many deliveries have not ended, and when the oldest of them was made (milliseconds); None: there is none."""
    query = select(func.count(), func.min(deliveries.c.created_at)).where(deliveries.c.state == PENDING)
    row: Any = (await db.read(query))[0]
    return int(row[0]), row[1]


async def load_pending(db: Database, target: str, *, after: int, limit: int) -> list[DeliveryRow]:
    """What is not delivered yet to a receiver, in order, from behind that seq."""
    query = select(*_COLUMNS).where(
        deliveries.c.state == PENDING, deliveries.c.target == target, deliveries.c.seq > after
    )
    return [_delivery(row) for row in await db.read(query.order_by(deliveries.c.seq).limit(limit))]


async def find(db: Database, delivery_id: str) -> DeliveryRow | None:
    """One delivery."""
    rows = await db.read(select(*_COLUMNS).where(deliveries.c.id == delivery_id))
    return _delivery(rows[0]) if rows else None


async def listed(
    db: Database,
    *,
    owner: str | None,
    job_id: str | None = None,
    states: Collection[str] = (),
    before: int | None = None,
    limit: int,
) -> Sequence[DeliveryRow]:
    """Deliveries of an owner, or with None of everyone, the newest first; ``before``: older than that seq."""
    query = select(*_COLUMNS).order_by(deliveries.c.seq.desc()).limit(limit)
    wanted: list[Any] = []
    if owner is not None:
        wanted.append(deliveries.c.owner == owner)
    if job_id is not None:
        wanted.append(deliveries.c.job_id == job_id)
    if states:
        wanted.append(deliveries.c.state.in_(list(states)))
    if before is not None:
        wanted.append(deliveries.c.seq < before)
    return [_delivery(row) for row in await db.read(query.where(*wanted))]


def put_secret(row: SecretRow) -> Operation:
    """Write an owner's secret down, in place of what there was."""
    return Operation(_put_secret, values_of(row))


async def load_secret(db: Database, owner: str) -> SecretRow | None:
    """An owner's secret."""
    rows = await db.read(select(*_SECRET_COLUMNS).where(secrets.c.owner == owner))
    return _secret(rows[0]) if rows else None


def _delivery(row: Any) -> DeliveryRow:
    return DeliveryRow(*row)


def _secret(row: Any) -> SecretRow:
    return SecretRow(*row)
