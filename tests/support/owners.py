"""A pool that asks for tokens, and clients of several owners."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from gateway.access.token import Token, TokenLimits
from support.client import Client
from support.pools import RunningPool, running_pool

ACCESS: dict[str, Any] = {"access": {"mode": "tokens"}}


@asynccontextmanager
async def guarded_pool(folder: Path, count: int = 2, **more: Any) -> AsyncIterator[RunningPool]:
    """As ``running_pool``, with tokens asked for."""
    config = ACCESS | more.pop("config", {})
    async with running_pool(folder, count, config=config, **more) as pool:
        yield pool


async def token_of(
    pool: RunningPool, owner: str, scopes: Iterable[str] = ("run",), limits: TokenLimits | None = None
) -> str:
    """The secret of a new token."""
    wanted = Token("", f"{owner}'s", owner, frozenset(scopes), 0, limits=limits or TokenLimits())
    return (await pool.rooms.access.tokens.create(wanted))[1]


@asynccontextmanager
async def client_of(
    pool: RunningPool, owner: str, scopes: Iterable[str] = ("run",), *, sid: str | None = None
) -> AsyncIterator[Client]:
    """A connected client of an owner, with a token of its own."""
    async with Client.connected(pool.base, token=await token_of(pool, owner, scopes), sid=sid) as client:
        yield client


def admin_of(pool: RunningPool) -> Any:
    """A connected client of an admin."""
    return client_of(pool, "root", ("admin",))


async def upload(client: Client, content: bytes, filename: str, **fields: str) -> dict[str, str]:
    """Uploads a picture; returns the answer."""
    form = aiohttp.FormData(fields)
    form.add_field("image", content, filename=filename)
    async with client.http.post(f"{client.base}/upload/image", data=form) as answer:
        assert answer.status == 200, await answer.text()
        told: dict[str, str] = await answer.json()
        return told
