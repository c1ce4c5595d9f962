"""``/v1/user``: who calls. Users are the owners of tokens; without tokens there is one."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Literal
from uuid import UUID

from aiohttp import web
from pydantic import Field

from gateway.access.callers import caller_of
from gateway.api.services import services
from gateway.api.v1.endpoint import endpoint
from gateway.api.v1.models import View, at

ANONYMOUS = "anonymous"


class User(View):
    """The owner of the caller's token. What only an account of the hosted service has is there for its clients: no
    address, the tier without limits, and one of the two providers that it knows."""

    id: UUID
    name: str = Field(description="The owner; anonymous without tokens.")
    email: str = Field(description="Always empty: the gateway keeps no addresses.")
    deleted: bool
    tier: Literal["free", "pro", "plus", "enterprise"] = Field(description="Always enterprise.")
    provider: Literal["github", "google"] = Field(description="Always github.")
    created_at: datetime
    updated_at: datetime


def user_id(gateway_id: str, owner: str) -> UUID:
    """An owner's id, the same for ever: drawn from the gateway's own id and the owner's name."""
    return uuid.uuid5(uuid.uuid5(uuid.NAMESPACE_OID, gateway_id), f"owner {owner}")


def user_id_of(request: web.Request) -> UUID:
    """The caller's id."""
    return user_id(services(request).gateway_id, caller_of(request).owner)


async def get_user(request: web.Request) -> User:
    """Who the token belongs to."""
    owner = caller_of(request).owner
    since = at(services(request).since)
    return User(
        id=user_id_of(request),
        name=owner or ANONYMOUS,
        email="",
        deleted=False,
        tier="enterprise",
        provider="github",
        created_at=since,
        updated_at=since,
    )


ENDPOINTS = [endpoint("GET", "/v1/user", get_user, tag="user")]
