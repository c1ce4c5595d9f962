"""The list of all runners: those of the configuration, and those made over the API. Both are one pool, and a reload of
the configuration is about the first only. What a move does to jobs is in `gateway.jobs.fleet`.

    who says            a runner of the configuration               one made over the API
    that it exists      the configuration                           its row
    all about it        the configuration                           its row
    its status          the API, until the configuration's own      its row
                        status of it changes; that then counts
    its id              drawn from the gateway's id and its name    a UUID of its own

A runner made over the API has a *key*, its name in the pool, in answers and in jobs: its name where that can be one and
is free, else a name drawn from it. Where the configuration names a runner by that key, it takes it over: the row goes,
the runner and its jobs stay.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal
from uuid import UUID

import structlog
from pydantic import SecretStr

from gateway.clock import Clock
from gateway.comfyui import json_text
from gateway.config import RunnerConfig
from gateway.jobs.fleet import Fleet, UnknownRunner
from gateway.redaction import KNOWN, secrets_of
from gateway.runners.changes import Change
from gateway.runners.runner import AddedRunner
from gateway.storage import runners as rows
from gateway.storage.database import Database
from gateway.storage.sealing import Seal, Unsealable

Status = Literal["active", "disabled", "drain"]
SLUG_MOST = 48
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # the rule of a runner's name in the configuration
_NOT_IN_KEYS = re.compile(r"[^A-Za-z0-9._-]+")

log = structlog.get_logger(__name__)


class NotChangeable(Exception):
    """The configuration says this, not the API."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One runner of the list. ``name`` is what its maker calls it, ``config.name`` its key; times are milliseconds."""

    id: UUID
    owner: str
    name: str
    config: RunnerConfig
    created_at: int
    updated_at: int
    is_configured: bool

    @property
    def key(self) -> str:
        """Its name in the pool."""
        return self.config.name


class Roster:
    """Holds the list and has the fleet follow it. Every change is in the database before it takes effect."""

    def __init__(self, db: Database, clock: Clock, seal: Seal, gateway_id: str) -> None:
        self.fleet: Fleet  # given by the app, which makes it of runners that are in this list
        self._db = db
        self._clock = clock
        self._seal = seal
        self._namespace = uuid.uuid5(uuid.NAMESPACE_OID, gateway_id)
        self._configured: dict[str, Entry] = {}  # by key, in the configuration's order
        self._made: dict[UUID, Entry] = {}  # in the order in which they were made
        self._statuses: dict[str, rows.ConfiguredRow] = {}
        self._changing = asyncio.Lock()

    # reading

    def entries(self) -> list[Entry]:
        """All runners, the newest first."""
        listed = [*self._made.values(), *self._configured.values()]
        return sorted(listed, key=lambda entry: entry.created_at, reverse=True)

    def get(self, id: UUID) -> Entry | None:  # noqa: A002
        """The runner of that id."""
        return self._made.get(id) or next((entry for entry in self._configured.values() if entry.id == id), None)

    def id_of(self, key: str) -> UUID | None:
        """The id of the runner that has this name in the pool."""
        return next(
            (entry.id for entry in (*self._configured.values(), *self._made.values()) if entry.key == key), None
        )

    def made_by(self, owner: str) -> int:
        """How many runners this owner has made."""
        return sum(entry.owner == owner for entry in self._made.values())

    def wanted(self) -> list[RunnerConfig]:
        """What the pool should be, the configuration's runners first."""
        return [entry.config for entry in (*self._configured.values(), *self._made.values())]

    # the configuration's side

    async def load(self, configured: Sequence[RunnerConfig]) -> None:
        """Reads the list at the start. Raises StorageError."""
        made = [self._of_row(row) for row in await rows.load_runners(self._db)]
        self._made = {entry.id: entry for entry in made}
        self._statuses = {row.name: row for row in await rows.load_configured(self._db)}
        await self._take(configured)

    async def apply(self, configured: Sequence[RunnerConfig]) -> list[Change]:
        """Makes the pool what a new configuration says, and what is in the list beside it. Returns what differed."""
        async with self._changing:
            await self._take(configured)
        return await self.fleet.follow(self.wanted)

    async def _take(self, configured: Sequence[RunnerConfig]) -> None:
        now = self._clock.wall_ms()
        found = {config.name: self._status_of(config, now) for config in configured}
        writes = [rows.upsert_configured(row) for name, row in found.items() if row != self._statuses.get(name)]
        writes += [rows.delete_configured(name) for name in self._statuses if name not in found]
        taken_over = [entry for entry in self._made.values() if entry.key in found]
        writes += [rows.delete_runner(str(entry.id)) for entry in taken_over]
        if writes:
            await self._db.write(*writes)
        for entry in taken_over:
            log.warning("runner.taken_over", runner=entry.key, id=str(entry.id))
            del self._made[entry.id]
        self._statuses = found
        self._configured = {config.name: self._of_config(config, found[config.name]) for config in configured}

    def _status_of(self, config: RunnerConfig, now: int) -> rows.ConfiguredRow:
        """What the database is to know of it: a status of the API holds as long as the configuration's stays."""
        known = self._statuses.get(config.name)
        if known is None:
            return rows.ConfiguredRow(config.name, now, now)
        if known.status is None or known.instead_of == config.status:
            return known
        log.info("runner.status_from_configuration", runner=config.name, status=config.status, was=known.status)
        return replace(known, updated_at=now, status=None, instead_of=None)

    def _of_config(self, config: RunnerConfig, row: rows.ConfiguredRow) -> Entry:
        runner_id = uuid.uuid5(self._namespace, f"runner {config.name}")
        if row.status is not None:
            config = config.model_copy(update={"status": row.status})
        return Entry(runner_id, "", config.name, config, row.created_at, row.updated_at, is_configured=True)

    # the API's side

    async def make(
        self,
        id: UUID,  # noqa: A002
        owner: str,
        name: str,
        *,
        endpoint: str,
        tags: Sequence[str] = (),
        headers: Mapping[str, SecretStr] | None = None,
    ) -> Entry:
        """Adds a runner, which connects at once. One of that id that is there already is given back.

        Raises StorageError, and pydantic's ValidationError: a value is none that the configuration would take.
        """
        async with self._changing:
            known = self.get(id)
            if known is not None:
                return known
            key = self._free_key(name, id)
            config = AddedRunner(name=key, endpoint=endpoint, tags=tuple(tags), headers=dict(headers or {}))
            now = self._clock.wall_ms()
            entry = Entry(id, owner, name, config, now, now, is_configured=False)
            await self._store(entry)
            self.fleet.add(config)
        return entry

    async def change(self, id: UUID, *, name: str | None = None, **changes: Any) -> Entry:  # noqa: A002
        """Changes a runner; ``changes`` are of ``endpoint``, ``tags``, ``headers`` and ``status``.

        Raises KeyError: there is none; NotChangeable: the configuration says this; StorageError; ValidationError.
        """
        async with self._changing:
            entry = self.get(id)
            if entry is None:
                raise KeyError(id)
            now = self._clock.wall_ms()
            config = type(entry.config).model_validate({**dict(entry.config), **changes})
            changed = replace(entry, name=name if name is not None else entry.name, config=config, updated_at=now)
            if (changed.name, config) == (entry.name, entry.config):
                return entry
            await (self._change_status(changed) if entry.is_configured else self._store(changed))
        await self.fleet.settle(entry.key, lambda: self._wanted(changed))
        return changed

    async def remove(self, id: UUID, seconds: float | None = None) -> None:  # noqa: A002
        """Takes a runner out of the list; it is drained for so many seconds, and goes when it is empty.

        Raises KeyError: there is none; NotChangeable: the configuration has it; StorageError.
        """
        async with self._changing:
            entry = self.get(id)
            if entry is None:
                raise KeyError(id)
            if entry.is_configured:
                raise NotChangeable
            await self._db.write(rows.delete_runner(str(id)))
            del self._made[id]
            with suppress(UnknownRunner):  # a reload has seen the list without it before
                self.fleet.remove(entry.key, seconds)

    def _wanted(self, entry: Entry) -> RunnerConfig:
        """What is wanted of a runner by now: the newest word counts, whichever move has its turn first."""
        newest = self._made.get(entry.id) or self._configured.get(entry.key)
        return (newest or entry).config

    async def _store(self, entry: Entry) -> None:
        KNOWN.add(secrets_of(entry.config))
        await self._db.write(rows.upsert_runner(self._row(entry)))
        self._made[entry.id] = entry

    async def _change_status(self, entry: Entry) -> None:
        was = self._configured[entry.key]
        only_status = entry.config.model_copy(update={"status": was.config.status}) == was.config
        if not only_status or entry.name != was.name:
            raise NotChangeable
        known = self._statuses[entry.key]
        own = known.instead_of or was.config.status
        status, instead_of = (None, None) if entry.config.status == own else (entry.config.status, own)
        row = replace(known, updated_at=entry.updated_at, status=status, instead_of=instead_of)
        await self._db.write(rows.upsert_configured(row))
        self._statuses[entry.key] = row
        self._configured[entry.key] = entry

    # rows and keys

    def _free_key(self, name: str, id: UUID) -> str:  # noqa: A002
        taken = {entry.key for entry in (*self._configured.values(), *self._made.values())}
        if _KEY.fullmatch(name) and name not in taken and self.fleet.leaving(name) is None:
            return name
        slug = _NOT_IN_KEYS.sub("-", name)[:SLUG_MOST].strip("-._") or "runner"
        return f"{slug}-{id.hex[:8]}"

    def _row(self, entry: Entry) -> rows.RunnerRow:
        config = entry.config
        return rows.RunnerRow(
            id=str(entry.id),
            key=entry.key,
            owner=entry.owner,
            name=entry.name,
            endpoint=config.endpoint,
            tags=json_text.dumps(config.tags),
            status=config.status,
            created_at=entry.created_at,
            updated_at=entry.updated_at,
            headers=self._seal.seal(json_text.dumps(config.plain_headers()).encode()),
        )

    def _of_row(self, row: rows.RunnerRow) -> Entry:
        config = AddedRunner.model_validate(
            {
                "name": row.key,
                "endpoint": row.endpoint,
                "tags": json_text.loads(row.tags),
                "headers": self._headers_of(row),
                "status": row.status,
            }
        )
        KNOWN.add(secrets_of(config))
        return Entry(UUID(row.id), row.owner, row.name, config, row.created_at, row.updated_at, is_configured=False)

    def _headers_of(self, row: rows.RunnerRow) -> dict[str, str]:
        """None, and a word in the log, where they cannot be read: the runner says itself whether it wants them."""
        try:
            headers: dict[str, str] = json_text.loads(self._seal.open(row.headers))
        except Unsealable as error:
            log.error("runner.headers_unreadable", runner=row.key, id=row.id, reason=str(error))
            return {}
        return headers
