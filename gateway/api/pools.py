"""The pool that a request sees: all runners, or those that have the tags of its base URL and of its token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from gateway.access.callers import BROWSERS
from gateway.api import answers
from gateway.api.services import services
from gateway.api.tag_paths import leads_to_page, tags_of
from gateway.api.terms import required_tags
from gateway.comfyui import errors
from gateway.runners.pool import Pool
from gateway.runners.runner import Runner
from gateway.runners.views import Views
from gateway.scheduling.needs import tags_fit

VIEWS = web.AppKey("views", Views)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def pool_of(request: web.Request) -> Pool:
    """The runners that answer this request."""
    tags = required_tags(request)
    if not tags:
        return services(request).pool
    wanted = frozenset(tags)
    key = tuple(sorted(wanted))
    return request.app[VIEWS].of(key, lambda runner: tags_fit(wanted, frozenset(runner.config.tags)))


def scope_of(request: web.Request) -> str:
    """What tells one view of the pool from another; "" for the whole."""
    tags = required_tags(request)
    return "+".join(sorted(tags)) if tags else ""


def browsers_runner(request: web.Request, *, binds: bool = True) -> Runner | None:
    """The runner that answers this browser where only one can; see `Browsers.runner`."""
    return request.app[BROWSERS].runner(request, pool_of(request), scope_of(request), binds=binds)


@web.middleware
async def known_tags(request: web.Request, handler: Handler) -> web.StreamResponse:
    """404 for a base URL of tags that no runner has, up or not, in ComfyUI's form."""
    if not tags_of(request) or len(pool_of(request)):
        return leads_to_page(request) or await handler(request)
    pool = services(request).pool
    reasons = "; ".join(f"{runner.name} has {', '.join(runner.config.tags)}" for runner in pool)
    details = f"No runner has all of: {', '.join(required_tags(request))}. {reasons}".strip()
    return answers.json(errors.error_body("unknown_tags", "No runner has these tags", details), status=404)
