"""The audit trail: what was done to tokens, runners and others' jobs, when, by whom and from where.

    audit(request, "runner.drain", runner.name, reason="maintenance")

A line is written behind: an action is not undone because its line cannot be written at once; it is as soon as it can.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import structlog
from aiohttp import web

from gateway.access.addresses import client_address
from gateway.access.callers import IDENTITY
from gateway.access.secrets import without_secrets
from gateway.clock import Clock
from gateway.storage import tokens as rows
from gateway.storage.database import Database
from gateway.storage.tokens import AuditRow

TEXT_MOST = 256  # characters of a target or of a value
DETAIL_MOST = 4_096  # characters of all details together
PAGE_MOST = 1_000  # lines

log = structlog.get_logger(__name__)


class Trail:
    """The lines in the database."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return self._clock.wall_ms()

    def add(self, row: AuditRow) -> None:
        """Has a line written, soon."""
        self._db.write_behind(rows.insert_audit(row))

    async def page(
        self, *, limit: int, before_id: int | None = None, where: Mapping[str, str] | None = None
    ) -> list[AuditRow]:
        """The newest lines first, those of a moment ago too. Raises StorageError."""
        await self._db.flushed()
        return await rows.load_audit(self._db, limit=limit, before_id=before_id, where=where)

    def forget(self, kept_ms: int) -> None:
        """Has lines removed that are older, soon."""
        self._db.write_behind(rows.forget_audit(self._clock.wall_ms() - kept_ms))


TRAIL = web.AppKey("trail", Trail)


def audit(request: web.Request, action: str, target: str = "", **detail: Any) -> None:
    """Notes that the caller has done something.

    Args:
        request: the caller's; its identity and its address are noted.
        action: what was done, as ``family.verb``: ``token.revoke``, ``runner.drain``, ``job.cancel``, ``login``.
        target: to what: an id or a name.
        detail: JSON values; tokens in them are made unreadable.
    """
    who = request[IDENTITY]
    token = who.token
    row = AuditRow(
        id=None,
        at=request.app[TRAIL].now(),
        token_id=token.id if token is not None else None,
        token_name=token.name if token is not None else None,
        owner=who.owner,
        address=client_address(request) or None,
        action=action,
        target=without_secrets(target)[:TEXT_MOST],
        detail=text_of(detail),
    )
    request.app[TRAIL].add(row)
    log.info("audit", action=action, target=row.target, by=row.token_id, owner=row.owner, address=row.address)


def text_of(detail: Mapping[str, Any]) -> str:
    """The details as JSON; values that are too long are cut, and all are left out where they are too many."""
    cut = {name: value[:TEXT_MOST] if isinstance(value, str) else value for name, value in detail.items()}
    text = without_secrets(json.dumps(cut, default=str))
    return text if len(text) <= DETAIL_MOST else json.dumps({"left_out": len(text)})
