"""The gateway's own notes: text under a key (its id, counters, what was last seen)."""

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert

from gateway.storage.database import Database, Operation
from gateway.storage.schema import meta

_set = insert(meta)
_set = _set.on_conflict_do_update(index_elements=[meta.c.key], set_={"value": _set.excluded.value})


def set_meta(key: str, value: str) -> Operation:
    """Write a note, over the one that is there."""
    return Operation(_set, {"key": key, "value": value})


async def get_meta(db: Database, key: str) -> str | None:
    """A note, or None."""
    rows = await db.read(select(meta.c.value).where(meta.c.key == key))
    return rows[0][0] if rows else None
