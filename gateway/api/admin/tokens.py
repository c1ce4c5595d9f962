"""``/gateway/api/tokens``: admins make, list, change, rotate and revoke tokens. A secret is in one answer only, that of
the request which made it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps

from aiohttp import web

from gateway.access.callers import require
from gateway.access.gate import GATE, Gate
from gateway.access.token import ADMIN, Token
from gateway.access.tokens import TokenError, UnknownToken
from gateway.access.trail import audit
from gateway.access.wanted import ChangeBody, RotationBody, TokenBody, WebhookBody, told
from gateway.api import answers
from gateway.api.admin.bodies import BodyRefused, body_of
from gateway.api.services import services
from gateway.clock import HOUR_MS
from gateway.comfyui import errors
from gateway.jobs.hooks import HookRefused

NEVER_KEPT = {"Cache-Control": "no-store"}

Handler = Callable[[web.Request], Awaitable[web.Response]]


def _for_admins(handler: Handler) -> Handler:
    @wraps(handler)
    async def guarded(request: web.Request) -> web.Response:
        require(request, ADMIN)
        try:
            return await handler(request)
        except UnknownToken as error:
            return answers.json(errors.error_body("token_not_found", str(error)), status=404)
        except TokenError as error:
            return answers.json(errors.error_body("token_not_changeable", str(error)), status=409)

    return guarded


@_for_admins
async def get_tokens(request: web.Request) -> web.Response:
    """All tokens, dead ones too; with ``owner`` in the query, of that owner."""
    owner = request.query.get("owner")
    found = [token for token in _gate(request).tokens.all() if owner is None or token.owner == owner]
    return answers.json({"tokens": [told(token, _now(request)) for token in found]}, headers=NEVER_KEPT)


@_for_admins
async def post_token(request: web.Request) -> web.Response:
    """Makes a token."""
    body = await body_of(request, TokenBody)
    await _judge_webhook(request, body.webhook)
    token, secret = await _gate(request).tokens.create(body.token(_now(request)))
    audit(request, "token.create", token.id, name=token.name, owner=token.owner, scopes=sorted(token.scopes))
    return _with_secret(request, token, secret)


@_for_admins
async def get_token(request: web.Request) -> web.Response:
    """One token."""
    token = _gate(request).tokens.get(request.match_info["id"])
    return answers.json(told(token, _now(request)), headers=NEVER_KEPT)


@_for_admins
async def patch_token(request: web.Request) -> web.Response:
    """Changes what a token permits."""
    body = await body_of(request, ChangeBody)
    await _judge_webhook(request, body.webhook)
    tokens = _gate(request).tokens
    token = await tokens.change(body.applied_to(tokens.get(request.match_info["id"]), _now(request)))
    audit(request, "token.change", token.id, **body.model_dump(mode="json", exclude_unset=True))
    return answers.json(told(token, _now(request)), headers=NEVER_KEPT)


@_for_admins
async def delete_token(request: web.Request) -> web.Response:
    """Revokes a token. It stays in the list, as revoked, for as long as the audit trail goes back."""
    token = await _gate(request).tokens.revoke(request.match_info["id"])
    audit(request, "token.revoke", token.id, name=token.name, owner=token.owner)
    return answers.json(told(token, _now(request)), headers=NEVER_KEPT)


@_for_admins
async def rotate_token(request: web.Request) -> web.Response:
    """Makes a token that permits the same; the old one lives on for a while."""
    body = await body_of(request, RotationBody)
    gate, old = _gate(request), request.match_info["id"]
    hours = gate.config.rotation_grace_hours if body.grace_hours is None else body.grace_hours
    token, secret = await gate.tokens.rotate(old, round(hours * HOUR_MS))
    audit(request, "token.rotate", old, replaced_by=token.id, grace_hours=hours)
    return _with_secret(request, token, secret)


async def _judge_webhook(request: web.Request, webhook: WebhookBody | None) -> None:
    """Raises BodyRefused: its target may not be one."""
    if webhook is not None:
        try:
            await services(request).jobs.receivers.check(webhook.hook())
        except HookRefused as refused:
            raise BodyRefused({"webhook": str(refused)}) from None


def _with_secret(request: web.Request, token: Token, secret: str) -> web.Response:
    return answers.json({**told(token, _now(request)), "token": secret}, status=201, headers=NEVER_KEPT)


def _gate(request: web.Request) -> Gate:
    return request.app[GATE]


def _now(request: web.Request) -> int:
    return services(request).clock.wall_ms()
