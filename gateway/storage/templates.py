"""Rows of templates and of their versions: a template's name, description and body are those of its version.

Functions that change something return Operations for `Database.write`; the others read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, and_, bindparam, delete, func, insert, select, update

from gateway.storage.database import Database, Operation
from gateway.storage.schema import template_versions, templates


@dataclass(frozen=True, slots=True)
class TemplateRow:
    """A template at one of its versions. Times are milliseconds since the epoch; ``body`` holds JSON, and is empty in
    listings."""

    id: str
    seq: int  # order of creation, unique
    owner: str
    created_at: int
    version: int  # from 1
    name: str
    description: str
    updated_at: int  # when this version was made
    body: bytes


_CURRENT = and_(template_versions.c.template_id == templates.c.id, template_versions.c.version == templates.c.version)
_EVERY = template_versions.c.template_id == templates.c.id
_HEAD_COLUMNS = [
    templates.c.id,
    templates.c.seq,
    templates.c.owner,
    templates.c.created_at,
    *(template_versions.c[name] for name in ("version", "name", "description", "created_at")),
]

_insert = insert(templates)
_insert_version = insert(template_versions)
_turn = update(templates).where(templates.c.id == bindparam("key")).values(version=bindparam("new_version"))
_delete = delete(templates).where(templates.c.id == bindparam("key"))


def insert_template(row: TemplateRow) -> list[Operation]:
    """Add a template with this version; Conflict if its id or its seq is taken."""
    own = {name: getattr(row, name) for name in ("id", "seq", "owner", "version", "created_at")}
    return [Operation(_insert, own), _version(row)]


def add_version(row: TemplateRow) -> list[Operation]:
    """Add a version, which is the template's from now on; Conflict if the template is gone, or has that version."""
    return [_version(row), Operation(_turn, {"key": row.id, "new_version": row.version})]


def delete_template(id: str) -> Operation:  # noqa: A002  the column's name
    """Remove a template with all of its versions."""
    return Operation(_delete, {"key": id})


async def load_template(db: Database, id: str, version: int | None = None) -> TemplateRow | None:  # noqa: A002
    """A template at a version, or as it is now."""
    query = select(*_HEAD_COLUMNS, template_versions.c.body).where(templates.c.id == id)
    if version is None:
        query = query.join_from(templates, template_versions, _CURRENT)
    else:
        query = query.join_from(templates, template_versions, _EVERY).where(template_versions.c.version == version)
    rows = await db.read(query)
    return _row(rows[0]) if rows else None


async def list_templates(db: Database, *, owner: str | None, offset: int, limit: int) -> tuple[list[TemplateRow], int]:
    """A page of an owner's templates, or with None of everyone's, newest first; and how many there are on all pages."""
    page = _owned(select(*_HEAD_COLUMNS).join_from(templates, template_versions, _CURRENT), owner)
    rows = await db.read(page.order_by(templates.c.seq.desc()).offset(offset).limit(limit))
    return [_head(row) for row in rows], await count_templates(db, owner)


async def list_versions(db: Database, id: str) -> list[TemplateRow]:  # noqa: A002  the column's name
    """All versions of a template, the newest first."""
    query = select(*_HEAD_COLUMNS).join_from(templates, template_versions, _EVERY).where(templates.c.id == id)
    return [_head(row) for row in await db.read(query.order_by(template_versions.c.version.desc()))]


async def count_templates(db: Database, owner: str | None) -> int:
    """How many templates an owner has, or with None everyone."""
    rows = await db.read(_owned(select(func.count()).select_from(templates), owner))
    return int(rows[0][0])


async def highest_template_seq(db: Database) -> int:
    """The last seq given out, 0 in a new database."""
    rows = await db.read(select(func.coalesce(func.max(templates.c.seq), 0)))
    return int(rows[0][0])


def _version(row: TemplateRow) -> Operation:
    columns = {name: getattr(row, name) for name in ("version", "name", "description", "body")}
    return Operation(_insert_version, {"template_id": row.id, "created_at": row.updated_at, **columns})


def _owned(query: Select[Any], owner: str | None) -> Select[Any]:
    return query if owner is None else query.where(templates.c.owner == owner)


def _head(values: Sequence[Any]) -> TemplateRow:
    return _row([*values, b""])


def _row(values: Sequence[Any]) -> TemplateRow:
    return TemplateRow(*values)
