"""On what terms a request's prompts are taken in: tags of its base URL and of its token, and the token's webhook."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from gateway.access.callers import IDENTITY
from gateway.api.services import services
from gateway.api.tag_paths import tags_of
from gateway.jobs.hooks import Hook
from gateway.jobs.terms import Terms


def terms_of(request: web.Request, hooks: Sequence[Hook] = ()) -> Terms:
    """The terms; ``hooks`` are receivers that the request names itself, judged already."""
    token = request[IDENTITY].token
    of_token = () if token is None or token.webhook is None else (token.webhook,)
    return Terms(required_tags(request), (*of_token, *hooks))


def required_tags(request: web.Request) -> tuple[str, ...]:
    """The tags that whatever this request uses must have, each once."""
    token = request[IDENTITY].token
    if token is None or not token.tags:
        return tags_of(request)
    return tuple(dict.fromkeys([*tags_of(request), *token.tags]))


async def judged(request: web.Request, hook: Hook) -> Hook:
    """A receiver that may be one. Raises HookRefused."""
    return await services(request).jobs.receivers.check(hook)
