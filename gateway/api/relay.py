"""Relaying a request to one runner, streaming both ways, with the headers that may pass."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import structlog
from aiohttp import web
from multidict import CIMultiDict

from gateway.api import answers
from gateway.runners.errors import RunnerError
from gateway.runners.runner import Runner

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# A runner trusts whoever reaches it, and refuses what looks like another site's page: what tells of the client stays.
NOT_FOR_RUNNERS = HOP_BY_HOP | {
    "authorization",
    "cookie",
    "host",
    "origin",
    "referer",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-fetch-user",
    "x-api-key",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "expect",
    "content-length",
}
NOT_FOR_CLIENTS = HOP_BY_HOP | {"server", "date", "set-cookie"}
CHUNK_BYTES = 64 * 1024

log = structlog.get_logger(__name__)


def request_headers(request: web.Request) -> CIMultiDict[str]:
    """The client's headers that a runner may see."""
    named_by_connection = {name.strip().lower() for name in request.headers.get("Connection", "").split(",")}
    kept: CIMultiDict[str] = CIMultiDict()
    for name, value in request.headers.items():
        if name.lower() not in NOT_FOR_RUNNERS and name.lower() not in named_by_connection:
            kept.add(name, value)
    return kept


async def relay(
    request: web.Request,
    runner: Runner,
    path: str,
    *,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    answer_headers: Mapping[Any, str] | None = None,
) -> web.StreamResponse:
    """Sends the request to a runner and its answer to the client, as the bytes come.

    Args:
        request: the client's request; its method and its body are passed on.
        runner: who answers.
        path: percent-encoded, with the query unless ``params`` has it.
        params: a query to be encoded.
        headers: instead of the client's.
        answer_headers: added to the runner's, or in their place.

    A runner that cannot be reached gives 502, one that stops in the middle ends the connection.
    """
    answer: web.StreamResponse | None = None
    sent = request_headers(request) if headers is None else headers
    try:
        async with runner.client.stream(
            request.method, path, params=params, headers=sent, data=_body(request)
        ) as reply:
            answer = _answer_for(reply, runner, answer_headers)
            await answer.prepare(request)
            async for chunk in reply.content.iter_chunked(CHUNK_BYTES):
                await answer.write(chunk)
            await answer.write_eof()
            return answer
    except RunnerError as error:
        log.warning("relay.failed", runner=runner.name, path=path, reason=error.reason)
        runner.suspect(error.reason)
        if answer is None or not answer.prepared:
            return web.Response(status=502, text=f"runner {runner.name} did not answer: {error.reason}")
        if request.transport is not None:
            request.transport.abort()  # a cut answer must not look like a whole one
        return answer


def _body(request: web.Request) -> AsyncIterator[bytes] | None:
    return request.content.iter_chunked(CHUNK_BYTES) if request.can_read_body else None


def _answer_for(reply: aiohttp.ClientResponse, runner: Runner, extra: Mapping[Any, str] | None) -> web.StreamResponse:
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in reply.headers.items():
        if name.lower() not in NOT_FOR_CLIENTS:
            headers.add(name, value)
    for name, value in {answers.RUNNER_HEADER: runner.name, **(extra or {})}.items():
        headers[name] = value
    return web.StreamResponse(status=reply.status, reason=reply.reason, headers=headers)
