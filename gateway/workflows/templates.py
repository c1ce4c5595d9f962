"""Templates: graphs with a name and a description, to make workflows from. An update makes a new version; the earlier
ones can still be fetched and run, until the template is deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog

from gateway.clock import Clock
from gateway.comfyui import json_text
from gateway.storage import templates as rows
from gateway.storage.database import Database
from gateway.storage.templates import TemplateRow

log = structlog.get_logger(__name__)


class TemplateLimit(Exception):
    """The owner has as many templates as one may have."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What an update sets; None leaves it as it is. ``body`` is one that ``placeholders.graph_of`` takes."""

    name: str | None = None
    description: str | None = None
    body: Mapping[str, Any] | None = None


class Templates:
    """All owners' templates. Methods raise StorageError where the database cannot be used."""

    def __init__(self, db: Database, clock: Clock, *, most: int | None) -> None:
        self._db = db
        self._clock = clock
        self._most = most
        self._seq = 0
        self._one_at_a_time = asyncio.Lock()

    async def start(self) -> None:
        """Reads where the count of templates stands."""
        self._seq = await rows.highest_template_seq(self._db)

    async def create(
        self, template_id: str, owner: str, name: str, description: str, body: Mapping[str, Any]
    ) -> TemplateRow:
        """Stores a template as its version 1; one that has that id already is given back. Raises TemplateLimit."""
        async with self._one_at_a_time:
            made = await rows.load_template(self._db, template_id)
            if made is not None:
                return made
            if self._most is not None and await rows.count_templates(self._db, owner) >= self._most:
                raise TemplateLimit(f"Template limit exceeded: there are {self._most} already")
            self._seq += 1
            now = self._clock.wall_ms()
            row = TemplateRow(template_id, self._seq, owner, now, 1, name, description, now, _json(body))
            await self._db.write(*rows.insert_template(row))
        log.info("template.created", template=row.id, owner=owner or None)
        return row

    async def get(self, template_id: str, version: int | None = None) -> TemplateRow | None:
        """A template at a version, or as it is now, whoever's it is."""
        return await rows.load_template(self._db, template_id, version)

    async def listed(self, *, owner: str | None, offset: int, limit: int) -> tuple[list[TemplateRow], int]:
        """A page of an owner's templates, or with None of everyone's, newest first; and how many there are in all."""
        return await rows.list_templates(self._db, owner=owner, offset=offset, limit=limit)

    async def versions(self, template_id: str) -> list[TemplateRow]:
        """All versions of a template without their bodies, the newest first; empty if there is no such template."""
        return await rows.list_versions(self._db, template_id)

    async def update(self, template_id: str, changes: Changes) -> TemplateRow | None:
        """Makes a new version with these changes; None if the template is gone. Without a change there is none."""
        async with self._one_at_a_time:
            row = await rows.load_template(self._db, template_id)
            if row is None:
                return None
            changed = replace(
                row,
                name=row.name if changes.name is None else changes.name,
                description=row.description if changes.description is None else changes.description,
                body=row.body if changes.body is None else _json(changes.body),
            )
            if changed == row:
                return row
            changed = replace(changed, version=row.version + 1, updated_at=self._clock.wall_ms())
            await self._db.write(*rows.add_version(changed))
        log.info("template.updated", template=changed.id, version=changed.version)
        return changed

    async def delete(self, template_id: str) -> None:
        """Removes a template with all of its versions; workflows that were made from it keep their graphs."""
        async with self._one_at_a_time:
            await self._db.write(rows.delete_template(template_id))
        log.info("template.deleted", template=template_id)


def body_of(row: TemplateRow) -> dict[str, Any]:
    """The graph of a template at its version."""
    body: dict[str, Any] = json_text.loads(row.body)
    return body


def _json(value: Mapping[str, Any]) -> bytes:
    return json_text.dumps(value).encode()
