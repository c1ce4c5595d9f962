"""``Idempotency-Key``: a create that is sent again makes nothing again (draft-ietf-httpapi-idempotency-key-header).

Keys belong to an owner and live for 24 hours, through restarts too. What a request with a key finds:

    the key is     known by                          the same request                   another request
    new            no row, or an older one           written down; runs                 the same
    under way      this process                      409                                422
    unfinished     a row without an answer: a crash  runs, under the id of the first    422
                   or a fault came before it
    answered       a row with it                     the first answer once more         422

A refusal (4xx) made nothing and lets the key go. A route makes its resource under `new_id`, which is the same for every
run of one key, and gives back what it finds there: so a crash between the making and the answer makes nothing twice.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable
from uuid import UUID

from aiohttp import web

from gateway.clock import Clock
from gateway.storage import idempotency as rows
from gateway.storage.database import Database

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
LIFE_MS = 24 * 60 * 60 * 1_000
_NEW_ID = web.RequestKey("new_id", UUID)
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


class KeyMalformed(ValueError):
    """The header has no usable key."""


class KeyUnderWay(Exception):
    """The first request with this key has not been answered yet."""


class KeyReused(Exception):
    """The key came with another request first."""


class Keys:
    """The keys of one gateway."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._under_way: dict[tuple[str, str], str] = {}

    async def once(
        self, owner: str, key: str, fingerprint: str, act: Callable[[UUID], Awaitable[web.Response]]
    ) -> web.Response:
        """The answer of ``act``, which is called with the id to use unless its answer is known.

        Args:
            owner: whose key.
            key: as `key_of` gives it.
            fingerprint: the same for every sending of the same request.
            act: what the request does. Its answers of 400 to 499 let the key go.

        Raises KeyUnderWay, KeyReused, StorageError, and whatever ``act`` raises.
        """
        claimed = (owner, key)
        if claimed in self._under_way:
            raise KeyUnderWay if self._under_way[claimed] == fingerprint else KeyReused
        self._under_way[claimed] = fingerprint
        try:
            row = await self._claim(owner, key, fingerprint)
            if row.status is not None:
                return _replayed(row)
            answer = await act(UUID(row.resource_id))
            await self._settle(row, answer)
            return answer
        finally:
            del self._under_way[claimed]

    async def _claim(self, owner: str, key: str, fingerprint: str) -> rows.KeyRow:
        now = self._clock.wall_ms()
        known = await rows.find(self._db, owner, key)
        if known is not None and known.created_at > now - LIFE_MS:
            if known.fingerprint != fingerprint:
                raise KeyReused
            return known
        row = rows.KeyRow(owner, key, fingerprint, str(uuid.uuid4()), now)
        await self._db.write(rows.forget(now - LIFE_MS), rows.claim(row))
        return row

    async def _settle(self, row: rows.KeyRow, answer: web.Response) -> None:
        if 400 <= answer.status < 500:
            await self._db.write(rows.release(row.owner, row.key))
        elif answer.status < 400:
            body = answer.body if isinstance(answer.body, bytes) else b""
            await self._db.write(rows.answer(row.owner, row.key, answer.status, body))


def _replayed(row: rows.KeyRow) -> web.Response:
    assert row.status is not None
    return web.Response(
        status=row.status,
        body=row.answer,
        headers={REPLAYED: "true"},
        content_type="application/json",
        charset="utf-8",
    )


KEYS = web.AppKey("idempotency_keys", Keys)


def key_of(request: web.Request) -> str | None:
    """The key of a request, with or without the quotes of the draft; None without one. Raises KeyMalformed."""
    given = request.headers.get(HEADER)
    if given is None:
        return None
    key = given[1:-1] if len(given) >= 2 and given[0] == given[-1] == '"' else given
    if not _KEY.fullmatch(key):
        raise KeyMalformed(f"{HEADER} must be 1 to 255 visible ASCII characters")
    return key


def use_id(request: web.Request, given: UUID) -> None:
    """Has `new_id` give this one."""
    request[_NEW_ID] = given


def new_id(request: web.Request) -> UUID:
    """The id (UUIDv4) under which this request makes its resource; where one is there already, it has been made."""
    return request.get(_NEW_ID) or uuid.uuid4()
