"""Where `tokens` does its work: in the database beside a gateway, or at a running one over its HTTP API. Both take and
give what ``/gateway/api/tokens`` does.

The gateway that runs on the same database sees by the tokens' version, within a second, that they have changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

from pydantic import ValidationError

from gateway.access.token import Token
from gateway.access.tokens import TokenError, Tokens
from gateway.access.trail import Trail
from gateway.access.wanted import RotationBody, TokenBody, faults_of, told
from gateway.cli.http import GatewayClient, NotDone, gateway_at, quoted
from gateway.clock import HOUR_MS, Clock
from gateway.config import AccessConfig, Config
from gateway.storage.database import Database
from gateway.storage.errors import StorageError
from gateway.storage.tokens import AuditRow

TOKENS = "/gateway/api/tokens"
COMMAND_LINE = "command line"  # who acts, in the audit trail

Answer = dict[str, Any]


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
async def remote(url: str, token: str | None) -> AsyncIterator[TokensOffice]:
    """At a running gateway, with an admin's token."""
    async with gateway_at(url, token) as gateway:
        yield _Remote(gateway)


class _Remote:
    def __init__(self, gateway: GatewayClient) -> None:
        self._gateway = gateway

    async def create(self, body: Mapping[str, Any]) -> Answer:
        return dict(await self._gateway.ask("POST", TOKENS, body=body))

    async def listed(self, owner: str | None) -> list[Answer]:
        found: list[Answer] = (await self._gateway.ask("GET", TOKENS, owner=owner))["tokens"]
        return found

    async def rotate(self, id: str, body: Mapping[str, Any]) -> Answer:  # noqa: A002  the field's name
        return dict(await self._gateway.ask("POST", f"{TOKENS}/{quoted(id)}/rotate", body=body))

    async def revoke(self, id: str) -> Answer:  # noqa: A002  the field's name
        return dict(await self._gateway.ask("DELETE", f"{TOKENS}/{quoted(id)}"))
