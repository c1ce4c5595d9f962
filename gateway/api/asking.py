"""Asking runners for what the gateway does not know itself: all that are ready at once, or one; with deadlines."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import structlog
from aiohttp import web

from gateway.access.credentials import path_without_tokens
from gateway.api.pools import browsers_runner, pool_of
from gateway.runners.errors import RunnerError, RunnerMisanswered
from gateway.runners.runner import Runner

ANSWER_SECONDS = 10.0  # for one runner's answer to a question that many are asked

log = structlog.get_logger(__name__)


class NoRunner(Exception):
    """No runner is up that could answer. The middleware makes it 503."""


@dataclass(frozen=True, slots=True)
class Asked:
    """``answers`` are the JSON of the runners that gave some, in the pool's order, the primary first; ``lacking`` are
    the runners that answered without, as an older one does that does not know the route."""

    answers: list[tuple[Runner, Any]]
    lacking: list[Runner]

    @property
    def objects(self) -> list[tuple[Runner, dict[str, Any]]]:
        """The answers that are objects."""
        return [(runner, answer) for runner, answer in self.answers if isinstance(answer, dict)]

    @property
    def lists(self) -> list[tuple[Runner, list[Any]]]:
        """The answers that are lists."""
        return [(runner, answer) for runner, answer in self.answers if isinstance(answer, list)]


async def ask_all(request: web.Request, path: str) -> Asked:
    """GETs a path from every ready runner at once. A runner that fails is left out.

    Args:
        request: the client's, for the pool.
        path: percent-encoded, with its query.

    Raises:
        NoRunner: none is ready, or all failed.
    """
    asked, path = Asked([], []), path_without_tokens(path)
    runners = pool_of(request).ready()
    found = await asyncio.gather(*(_ask(runner, path) for runner in runners), return_exceptions=True)
    for runner, answer in zip(runners, found, strict=True):
        if isinstance(answer, RunnerMisanswered):
            asked.lacking.append(runner)
        elif isinstance(answer, RunnerError):
            log.warning("runner.not_asked", runner=runner.name, path=path, reason=answer.reason)
            runner.suspect(answer.reason)
        elif isinstance(answer, BaseException):
            raise answer
        else:
            asked.answers.append((runner, answer))
    if not asked.answers and not asked.lacking:
        raise NoRunner("no runner is up")
    return asked


async def _ask(runner: Runner, path: str) -> Any:
    return await runner.client.get_json(path, timeout=ANSWER_SECONDS)


def primary_of(request: web.Request) -> Runner:
    """The runner whose answer stands where answers cannot be merged. Raises NoRunner."""
    runner = pool_of(request).primary
    if runner is None:
        raise NoRunner("no runner is up")
    return runner


def bound_to(request: web.Request) -> Runner:
    """The runner that this browser is bound to, else the primary. Raises NoRunner."""
    runner = browsers_runner(request)
    if runner is None:
        raise NoRunner("no runner is up")
    return runner
