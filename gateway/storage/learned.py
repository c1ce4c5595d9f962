"""Rows of what was learned of runners, models and kinds of jobs: JSON under a key. What is learned, and how much of it
is kept, is decided in `gateway.jobs.learning`."""

from sqlalchemy import bindparam, delete, select
from sqlalchemy.dialects.sqlite import insert

from gateway.storage.database import Database
from gateway.storage.schema import learned
from gateway.storage.writer import Operation

_set = insert(learned)
_set = _set.on_conflict_do_update(
    index_elements=list(learned.primary_key),
    set_={"value": _set.excluded.value, "updated_at": _set.excluded.updated_at},
)
_delete = delete(learned).where(learned.c.topic == bindparam("of_topic"), learned.c.name == bindparam("of_name"))


def set_learned(topic: str, name: str, value: str, updated_at: int) -> Operation:
    """Write what is known by now; the time is in milliseconds."""
    return Operation(_set, {"topic": topic, "name": name, "value": value, "updated_at": updated_at})


def delete_learned(topic: str, name: str) -> Operation:
    """Remove what was known."""
    return Operation(_delete, {"of_topic": topic, "of_name": name})


async def load_learned(db: Database) -> list[tuple[str, str, str]]:
    """Everything as (topic, name, value), what was learned last at the end. Raises StorageError."""
    rows = await db.read(select(learned.c.topic, learned.c.name, learned.c.value).order_by(learned.c.updated_at))
    return [(row.topic, row.name, row.value) for row in rows]
