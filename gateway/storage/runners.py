"""Rows of runners that were made over the API, and of what the API says of those of the configuration. What is made of
them is decided in `gateway.jobs.roster`."""

from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Table, bindparam, delete, select
from sqlalchemy.dialects.sqlite import Insert, insert

from gateway.storage.database import Database
from gateway.storage.schema import configured_runners, runners
from gateway.storage.writer import Operation, values_of


@dataclass(slots=True)
class RunnerRow:
    """A runner made over the API. ``key`` is its name in the pool, ``name`` what its maker calls it; ``tags`` are JSON,
    ``headers`` sealed JSON; times are milliseconds."""

    id: str
    key: str
    owner: str
    name: str
    endpoint: str
    tags: str
    status: str
    created_at: int
    updated_at: int
    headers: bytes


@dataclass(slots=True)
class ConfiguredRow:
    """A runner of the configuration. ``status`` was given over the API while the configuration said ``instead_of``;
    both are None where none was given. Times are milliseconds."""

    name: str
    created_at: int
    updated_at: int
    status: str | None = None
    instead_of: str | None = None


_RUNNER_COLUMNS = [runners.c[field.name] for field in fields(RunnerRow)]
_CONFIGURED_COLUMNS = [configured_runners.c[field.name] for field in fields(ConfiguredRow)]


def _upsert(table: Table) -> Insert:
    statement = insert(table)
    others = {column.name: statement.excluded[column.name] for column in table.c if not column.primary_key}
    return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=others)


_upsert_runner = _upsert(runners)
_upsert_configured = _upsert(configured_runners)
_delete_runner = delete(runners).where(runners.c.id == bindparam("of_id"))
_delete_configured = delete(configured_runners).where(configured_runners.c.name == bindparam("of_name"))


def upsert_runner(row: RunnerRow) -> Operation:
    """Add a runner, or replace the row of its id; Conflict if its key is another's."""
    return Operation(_upsert_runner, values_of(row))


def delete_runner(id: str) -> Operation:  # noqa: A002  the column's name
    """Remove a runner."""
    return Operation(_delete_runner, {"of_id": id})


def upsert_configured(row: ConfiguredRow) -> Operation:
    """Add what is known of a runner of the configuration, or replace it."""
    return Operation(_upsert_configured, values_of(row))


def delete_configured(name: str) -> Operation:
    """Forget a runner that the configuration has no more."""
    return Operation(_delete_configured, {"of_name": name})


async def load_runners(db: Database) -> list[RunnerRow]:
    """All runners made over the API, in the order in which they were made."""
    rows: Any = await db.read(select(*_RUNNER_COLUMNS).order_by(runners.c.created_at, runners.c.id))
    return [RunnerRow(*row) for row in rows]


async def load_configured(db: Database) -> list[ConfiguredRow]:
    """What is known of the runners of the configuration."""
    rows: Any = await db.read(select(*_CONFIGURED_COLUMNS))
    return [ConfiguredRow(*row) for row in rows]
