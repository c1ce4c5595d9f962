"""Rows of idempotency keys: under which id a request with a key makes its resource, and what it was answered. What a
key means is in `gateway.api.idempotency`."""

from dataclasses import dataclass, fields

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.dialects.sqlite import insert

from gateway.storage.database import Database
from gateway.storage.schema import idempotency_keys as keys
from gateway.storage.writer import Operation, values_of


@dataclass(slots=True)
class KeyRow:
    """One key of one owner. ``status`` and ``answer``, the body as bytes, are None until it was answered; the time is
    in milliseconds."""

    owner: str
    key: str
    fingerprint: str
    resource_id: str
    created_at: int
    status: int | None = None
    answer: bytes | None = None


_COLUMNS = [keys.c[field.name] for field in fields(KeyRow)]
_upsert = insert(keys)
_upsert = _upsert.on_conflict_do_update(
    index_elements=list(keys.primary_key),
    set_={column.name: _upsert.excluded[column.name] for column in keys.c if not column.primary_key},
)
_is_the_key = (keys.c.owner == bindparam("of_owner")) & (keys.c.key == bindparam("of_key"))
_answer = update(keys).where(_is_the_key).values(status=bindparam("with_status"), answer=bindparam("with_answer"))
_release = delete(keys).where(_is_the_key)
_forget = delete(keys).where(keys.c.created_at < bindparam("before"))


def claim(row: KeyRow) -> Operation:
    """Write a key down, over an older row of it."""
    return Operation(_upsert, values_of(row))


def answer(owner: str, key: str, status: int, body: bytes) -> Operation:
    """Write down what its request was answered."""
    return Operation(_answer, {"of_owner": owner, "of_key": key, "with_status": status, "with_answer": body})


def release(owner: str, key: str) -> Operation:
    """Let a key go."""
    return Operation(_release, {"of_owner": owner, "of_key": key})


def forget(before: int) -> Operation:
    """Let go of every key that is older."""
    return Operation(_forget, {"before": before})


async def find(db: Database, owner: str, key: str) -> KeyRow | None:
    """A key, or None."""
    rows = await db.read(select(*_COLUMNS).where(keys.c.owner == owner, keys.c.key == key))
    return KeyRow(**rows[0]._mapping) if rows else None
