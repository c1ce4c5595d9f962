"""``/gateway/api/webhooks``: the log of deliveries, replaying one, and the secret that messages are signed with. Times
are milliseconds since the epoch, as everywhere under ``/gateway/api``; those in messages are not.
"""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from gateway.access.callers import caller_of, require
from gateway.access.token import RUN
from gateway.access.wanted import Body
from gateway.api import answers, own
from gateway.api.admin.bodies import valid
from gateway.api.openapi import Parameter
from gateway.api.own_models import Told
from gateway.api.services import services
from gateway.comfyui import errors, json_text
from gateway.jobs.hooks import Event
from gateway.storage.webhooks import DeliveryRow
from gateway.webhooks.retries import DeliveryState
from gateway.webhooks.secrets import SecretTold

DELIVERIES = "/gateway/api/webhooks/deliveries"
SECRET = "/gateway/api/webhooks/secret"
PAGE_MOST = 1_000
NEVER_KEPT = {"Cache-Control": "no-store"}
NO_SUCH = "There is no such delivery, or it is another owner's."


class Query(Body):
    """The query of the log."""

    limit: Annotated[int, Field(ge=1, le=PAGE_MOST)] = 100
    before: Annotated[int, Field(ge=1, lt=1 << 63, description="The `next` of the page before.")] | None = None
    job: Annotated[str, Field(description="Only of this job.")] | None = None
    state: Annotated[DeliveryState, Field(description="Only in this state.")] | None = None


class DeliveryTold(Told):
    """One message to one receiver."""

    id: str
    message_id: str = Field(description="The webhook-id; a replay has that of the message it repeats.")
    job_id: str
    url: str
    event: Event
    state: DeliveryState
    created_at: int
    ended_at: int | None
    attempts: int
    next_at: int | None = Field(description="When it is tried next, at the earliest.")
    status: int | None = Field(description="Of the receiver's last answer.")
    error: str | None = Field(description="Why the last try was in vain.")


class DeliveryWhole(DeliveryTold):
    """The same with what is sent."""

    body: dict[str, Any]


class DeliveryPage(Told):
    """The newest delivery first."""

    deliveries: list[DeliveryTold]
    next: int | None = Field(description="The `before` of the next page; null at the end.")


class SecretState(Told):
    """Whether there is a secret that somebody has been shown."""

    created_at: int | None
    previous_until: int | None = Field(description="Until when the secret before it signs too.")


class NewSecret(SecretState):
    """A secret that was made just now."""

    secret: str = Field(description="For a library of Standard Webhooks. Nobody can get it a second time.")


async def get_deliveries(request: web.Request) -> web.Response:
    """The caller's deliveries, everybody's for an admin, the newest first."""
    caller = require(request, RUN)
    query = valid(Query, dict(request.query))
    found = await services(request).webhooks.listed(
        owner=caller.within,
        job_id=query.job,
        states=[] if query.state is None else [query.state.value],
        before=query.before,
        limit=query.limit + 1,
    )
    page = found[: query.limit]
    following = page[-1].seq if len(found) > len(page) else None
    return answers.json({"deliveries": [_told(row) for row in page], "next": following}, headers=NEVER_KEPT)


async def get_delivery(request: web.Request) -> web.Response:
    """One delivery with what is sent."""
    row = await _found(request)
    return _missing(request) if row is None else answers.json(_whole(row), headers=NEVER_KEPT)


async def replay(request: web.Request) -> web.Response:
    """Sends a message once more, whatever became of it, as a delivery of its own under the same webhook-id."""
    row = await _found(request)
    if row is None:
        return _missing(request)
    made = await services(request).webhooks.replay(row, f"msg_{uuid.uuid4().hex}")
    return answers.json(_told(made), status=202)


async def get_secret(request: web.Request) -> web.Response:
    """Whether the caller's owner has a secret."""
    owner = require(request, RUN).owner
    return answers.json(_secret(await services(request).webhooks.secrets.told(owner)), headers=NEVER_KEPT)


async def post_secret(request: web.Request) -> web.Response:
    """Makes a secret, or a new one in place of the caller's, and shows it this once."""
    owner = require(request, RUN).owner
    text, told = await services(request).webhooks.secrets.renew(owner)
    return answers.json({**_secret(told), "secret": text}, status=201, headers=NEVER_KEPT)


async def _found(request: web.Request) -> DeliveryRow | None:
    require(request, RUN)
    row = await services(request).webhooks.find(request.match_info["id"])
    return row if row is not None and caller_of(request).sees(row.owner) else None


def _missing(request: web.Request) -> web.Response:
    body = errors.error_body("delivery_not_found", "There is no such delivery", request.match_info["id"])
    return answers.json(body, status=404)


def _told(row: DeliveryRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "message_id": row.message_id,
        "job_id": row.job_id,
        "url": row.url,
        "event": row.event,
        "state": row.state,
        "created_at": row.created_at,
        "ended_at": row.ended_at,
        "attempts": row.attempts,
        "next_at": row.next_at,
        "status": row.status,
        "error": row.error,
    }


def _whole(row: DeliveryRow) -> dict[str, Any]:
    return {**_told(row), "body": json_text.loads(row.body)}


def _secret(told: SecretTold | None) -> dict[str, Any]:
    if told is None:
        return {"created_at": None, "previous_until": None}
    return {"created_at": told.created_at, "previous_until": told.previous_until}


_ID = Parameter("id", "path", "The delivery's id.")
ENDPOINTS = [
    own.declare(
        "GET",
        DELIVERIES,
        get_deliveries,
        "The log of deliveries",
        tag="webhooks",
        scope="run",
        query=Query,
        model=DeliveryPage,
        errors={400: "A filter is wrong; extra_info has which."},
    ),
    own.declare(
        "GET",
        DELIVERIES + "/{id}",
        get_delivery,
        "One delivery, with what is sent",
        tag="webhooks",
        scope="run",
        parameters=[_ID],
        model=DeliveryWhole,
        errors={404: NO_SUCH},
    ),
    own.declare(
        "POST",
        DELIVERIES + "/{id}/replay",
        replay,
        "Send a message once more",
        tag="webhooks",
        scope="run",
        parameters=[_ID],
        status=202,
        model=DeliveryTold,
        errors={404: NO_SUCH},
    ),
    own.declare(
        "GET", SECRET, get_secret, "Whether there is a signing secret", tag="webhooks", scope="run", model=SecretState
    ),
    own.declare(
        "POST",
        SECRET,
        post_secret,
        "Make a signing secret, and show it this once",
        description="The one before it signs too for 24 hours.",
        tag="webhooks",
        scope="run",
        status=201,
        model=NewSecret,
    ),
]
