"""Administering tokens from outside of a running gateway: in the database beside it, or over its HTTP API. Both take
and give what ``/gateway/api/tokens`` does.

The gateway that runs on the same database sees by the tokens' version, within a second, that they have changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

import aiohttp
from pydantic import BaseModel, ValidationError
from yarl import URL

from gateway.access.gate import HOUR_MS
from gateway.access.token import Token
from gateway.access.tokens import TokenError, Tokens
from gateway.access.trail import Trail
from gateway.access.wanted import RotationBody, TokenBody, faults_of, told
from gateway.clock import Clock
from gateway.config import AccessConfig, Config
from gateway.storage.database import Database
from gateway.storage.errors import StorageError
from gateway.storage.tokens import AuditRow

ANSWER_SECONDS = 30.0
COMMAND_LINE = "command line"  # who acts, in the audit trail

Answer = dict[str, Any]
Model = TypeVar("Model", bound=BaseModel)


class NotDone(Exception):
    """What was asked for could not be done; the message says why."""


class TokensOffice(Protocol):
    """What can be done. Each raises NotDone."""

    async def create(self, body: Mapping[str, Any]) -> Answer:
        """The new token, with its secret as ``token``."""

    async def listed(self, owner: str | None) -> list[Answer]:
        """All tokens, or an owner's."""

    async def rotate(self, id: str, body: Mapping[str, Any]) -> Answer:  # noqa: A002  the field's name
        """The new token, with its secret as ``token``."""

    async def revoke(self, id: str) -> Answer:  # noqa: A002  the field's name
        """The token that was revoked."""


@asynccontextmanager
async def beside(config: Config) -> AsyncIterator[TokensOffice]:
    """In the configuration's database, whether or not a gateway serves it. Raises NotDone."""
    clock = Clock()
    try:
        async with await Database.join(config.database_url) as db:
            tokens = Tokens(db, clock, config.access.configured_secret)
            await tokens.load()
            yield _Beside(config.access, tokens, Trail(db, clock), clock)
    except (StorageError, TokenError) as error:
        raise NotDone(str(error)) from error
    except ValidationError as error:
        raise NotDone("; ".join(f"{field} {fault}".strip() for field, fault in faults_of(error).items())) from None


class _Beside:
    def __init__(self, config: AccessConfig, tokens: Tokens, trail: Trail, clock: Clock) -> None:
        self._config = config
        self._tokens = tokens
        self._trail = trail
        self._clock = clock

    async def create(self, body: Mapping[str, Any]) -> Answer:
        wanted = TokenBody.model_validate(body).token(self._clock.wall_ms())
        token, secret = await self._tokens.create(wanted)
        self._note("token.create", token, name=token.name, owner=token.owner, scopes=sorted(token.scopes))
        return {**told(token, self._clock.wall_ms()), "token": secret}

    async def listed(self, owner: str | None) -> list[Answer]:
        now = self._clock.wall_ms()
        return [told(token, now) for token in self._tokens.all() if owner is None or token.owner == owner]

    async def rotate(self, id: str, body: Mapping[str, Any]) -> Answer:  # noqa: A002  the field's name
        wanted = RotationBody.model_validate(body).grace_hours
        hours = self._config.rotation_grace_hours if wanted is None else wanted
        token, secret = await self._tokens.rotate(id, round(hours * HOUR_MS))
        self._note("token.rotate", self._tokens.get(id), replaced_by=token.id, grace_hours=hours)
        return {**told(token, self._clock.wall_ms()), "token": secret}

    async def revoke(self, id: str) -> Answer:  # noqa: A002  the field's name
        token = await self._tokens.revoke(id)
        self._note("token.revoke", token, name=token.name, owner=token.owner)
        return told(token, self._clock.wall_ms())

    def _note(self, action: str, token: Token, **detail: Any) -> None:
        """In the audit trail: there is no token behind it, but a user of this machine."""
        detail["uid"] = os.getuid() if hasattr(os, "getuid") else None
        at = self._clock.wall_ms()
        self._trail.add(AuditRow(None, at, None, COMMAND_LINE, "", None, action, token.id, json.dumps(detail)))


@asynccontextmanager
async def remote(url: str, secret: str | None) -> AsyncIterator[TokensOffice]:
    """At a running gateway, with an admin's token. Raises NotDone."""
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    try:
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as http:
            yield _Remote(http, URL(url.rstrip("/")))
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise NotDone(f"the gateway cannot be asked: {error or type(error).__name__}") from error


class _Remote:
    def __init__(self, http: aiohttp.ClientSession, base: URL) -> None:
        self._http = http
        self._tokens = base / "gateway" / "api" / "tokens"

    async def create(self, body: Mapping[str, Any]) -> Answer:
        return await self._ask("POST", self._tokens, body)

    async def listed(self, owner: str | None) -> list[Answer]:
        url = self._tokens if owner is None else self._tokens.with_query(owner=owner)
        found: list[Answer] = (await self._ask("GET", url))["tokens"]
        return found

    async def rotate(self, id: str, body: Mapping[str, Any]) -> Answer:  # noqa: A002  the field's name
        return await self._ask("POST", self._tokens / id / "rotate", body)

    async def revoke(self, id: str) -> Answer:  # noqa: A002  the field's name
        return await self._ask("DELETE", self._tokens / id)

    async def _ask(self, method: str, url: URL, body: Mapping[str, Any] | None = None) -> Answer:
        async with self._http.request(method, url, json=body, allow_redirects=False) as reply:
            answer = await reply.json(content_type=None) if "json" in reply.content_type else {}
        if reply.status >= 300:
            error = answer.get("error", {})
            raise NotDone(error.get("details") or error.get("message") or f"the gateway answered {reply.status}")
        return dict(answer)
