"""``GET /gateway/api/audit``: what was done to tokens, runners and others' jobs, for admins."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from pydantic import Field

from gateway.access.callers import require
from gateway.access.token import ADMIN
from gateway.access.trail import PAGE_MOST, TRAIL
from gateway.access.wanted import Body
from gateway.api import answers
from gateway.api.admin.bodies import valid
from gateway.comfyui import json_text

FILTERS = ("action", "target", "owner", "token_id")


class Query(Body):
    """``before`` is the id of a line: the page begins with the one before it."""

    limit: Annotated[int, Field(ge=1, le=PAGE_MOST)] = 100
    before: Annotated[int, Field(ge=1, lt=1 << 63)] | None = None
    action: str | None = None
    target: str | None = None
    owner: str | None = None
    token_id: str | None = None


async def get_audit(request: web.Request) -> web.Response:
    """A page of the trail, the newest line first; ``next`` is the ``before`` of the page after it, null at the end."""
    require(request, ADMIN)
    query = valid(Query, dict(request.query))
    where = {name: value for name in FILTERS if (value := getattr(query, name)) is not None}
    rows = await request.app[TRAIL].page(limit=query.limit + 1, before_id=query.before, where=where)
    page = rows[: query.limit]
    entries = [
        {
            "id": row.id,
            "at": row.at,
            "token_id": row.token_id,
            "token_name": row.token_name,
            "owner": row.owner,
            "address": row.address,
            "action": row.action,
            "target": row.target,
            "detail": json_text.loads(row.detail),
        }
        for row in page
    ]
    return answers.json({"entries": entries, "next": page[-1].id if len(rows) > len(page) else None})
