"""Each owner's signing secret: made when it is first needed, shown once to whoever asks for a new one, sealed in the
database. After a change the one before signs too, for a while, if anybody had it."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog
from standardwebhooks import Webhook

from gateway.clock import DAY_MS, Clock
from gateway.storage import webhooks as rows
from gateway.storage.database import Database
from gateway.storage.sealing import Seal, Unsealable
from gateway.storage.webhooks import SecretRow

PREFIX: Final = "whsec_"
RANDOM_BYTES: Final = 32
ROTATION_MS: Final = DAY_MS
REMEMBERED_MOST: Final = 1_000  # owners

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SecretTold:
    """What may be told of a secret: when it was made, and until when the one before it signs too (milliseconds)."""

    created_at: int
    previous_until: int | None


class SigningSecrets:
    """The secrets of all owners. Methods raise StorageError."""

    def __init__(self, db: Database, clock: Clock, seal: Seal) -> None:
        self._db = db
        self._clock = clock
        self._seal = seal
        self._known: OrderedDict[str, SecretRow] = OrderedDict()
        self._making = asyncio.Lock()  # or one that was shown could be lost to one that was made beside it

    async def told(self, owner: str) -> SecretTold | None:
        """What may be told of an owner's secret; None: nobody has been shown one."""
        row = await self._row(owner)
        if row is None or not row.shown:
            return None
        return SecretTold(row.created_at, row.previous_until if self._has_previous(row) else None)

    async def renew(self, owner: str) -> tuple[str, SecretTold]:
        """Makes an owner's secret, or a new one, and returns it: nobody can get it a second time."""
        async with self._making:
            old, now, text = await self._row(owner), self._clock.wall_ms(), _new()
            row = SecretRow(owner, self._sealed(owner, text), now, shown=True)
            if old is not None and old.shown:
                row.previous, row.previous_until = old.sealed, now + ROTATION_MS
            await self._keep(row)
        return text, SecretTold(row.created_at, row.previous_until)

    async def sign(self, owner: str, message_id: str, seconds: int, body: bytes) -> str:
        """The ``webhook-signature`` of a message that is sent at that time (Standard Webhooks, Signature scheme)."""
        keys = await self._keys(owner)
        if not keys:
            async with self._making:
                keys = await self._keys(owner) or [await self._first(owner)]
        at, data = datetime.fromtimestamp(seconds, UTC), body.decode()
        return " ".join(Webhook(key).sign(message_id, at, data) for key in keys)

    async def _keys(self, owner: str) -> list[str]:
        row = await self._row(owner)
        return [] if row is None else self._opened(row)

    async def _first(self, owner: str) -> str:
        text = _new()
        await self._keep(SecretRow(owner, self._sealed(owner, text), self._clock.wall_ms(), shown=False))
        return text

    def _opened(self, row: SecretRow) -> list[str]:
        sealed = [row.sealed, row.previous] if self._has_previous(row) else [row.sealed]
        try:
            texts = [self._seal.open(each).decode() for each in sealed if each is not None]
        except Unsealable:
            log.error("webhook.secret_lost", owner=row.owner or None, hint="is the key file the one that it was?")
            return []
        return [text.partition(" ")[0] for text in texts if text.partition(" ")[2] == row.owner]

    def _has_previous(self, row: SecretRow) -> bool:
        return row.previous_until is not None and self._clock.wall_ms() < row.previous_until

    def _sealed(self, owner: str, text: str) -> bytes:
        return self._seal.seal(f"{text} {owner}".encode())

    async def _row(self, owner: str) -> SecretRow | None:
        row = self._known.get(owner)
        if row is None:
            row = await rows.load_secret(self._db, owner)
            if row is not None:
                self._remember(row)
        return row

    async def _keep(self, row: SecretRow) -> None:
        await self._db.write(rows.put_secret(row))
        self._remember(row)

    def _remember(self, row: SecretRow) -> None:
        self._known[row.owner] = row
        self._known.move_to_end(row.owner)
        while len(self._known) > REMEMBERED_MOST:
            self._known.popitem(last=False)


def _new() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(RANDOM_BYTES)).decode()
