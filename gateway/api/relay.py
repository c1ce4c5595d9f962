"""Relaying a request to one runner, streaming both ways, with the headers that may pass."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import unquote

import aiohttp
import structlog
from aiohttp import hdrs, web
from multidict import CIMultiDict

from gateway.access.credentials import path_without_tokens
from gateway.access.secrets import ANY_SECRET
from gateway.api import answers
from gateway.api.services import services
from gateway.api.tag_paths import outward_here
from gateway.runners.errors import RunnerError, RunnerUnreachable
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
    "cf-connecting-ip",
    "cookie",
    "forwarded",
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
    "x-forwarded-port",
    "x-real-ip",
    "true-client-ip",
    "expect",
    "content-length",
}
# Who may read an answer across origins is the gateway's to say, and so is what holds for its whole site. A proxy before
# a runner that wants a password must not have browsers ask for one in the gateway's name.
NOT_FOR_CLIENTS = HOP_BY_HOP | {
    "server",
    "date",
    "set-cookie",
    "www-authenticate",
    "alt-svc",
    "clear-site-data",
    "nel",
    "report-to",
    "reporting-endpoints",
    "strict-transport-security",
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-expose-headers",
    "access-control-max-age",
}
DECODED = frozenset({"gzip", "deflate", "br", "zstd"})  # content encodings of a request that aiohttp has undone
CHUNK_BYTES = 64 * 1024
SILENT_SECONDS = 600.0  # a node's own route may work for minutes before it answers

log = structlog.get_logger(__name__)


def leads_out(path: str) -> bool:
    """Whether a percent-encoded path has steps upwards. They could lead out of a runner's path prefix, where a proxy
    before it resolves them, be they encoded once or twice."""
    decoded = unquote(unquote(path.partition("?")[0])).replace("\\", "/")
    return any(step in (".", "..") for step in decoded.split("/")) or "\0" in decoded


def request_headers(request: web.Request) -> CIMultiDict[str]:
    """The client's headers that a runner may see."""
    named_by_connection = {name.strip().lower() for name in request.headers.get("Connection", "").split(",")}
    kept: CIMultiDict[str] = CIMultiDict()
    for name, value in request.headers.items():
        if name.lower() in NOT_FOR_RUNNERS or name.lower() in named_by_connection or ANY_SECRET.search(value):
            continue
        kept.add(name, value)
    # What nobody asked for would be added by aiohttp, or no longer be true of the body.
    kept.setdefault(hdrs.ACCEPT_ENCODING, "identity")
    if request.headers.get(hdrs.CONTENT_ENCODING, "").lower() in DECODED:
        kept.popall(hdrs.CONTENT_ENCODING, None)
    elif request.content_length is not None and request.can_read_body:
        kept[hdrs.CONTENT_LENGTH] = str(request.content_length)
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

    A runner that does not answer gives 502, one that stops in the middle ends the connection; a body over the limit
    gives 413. What goes wrong on the client's side is not held against the runner.
    """
    try:
        return await relay_or_raise(
            request, runner, path, params=params, headers=headers, answer_headers=answer_headers
        )
    except RunnerUnreachable as error:
        return answers.runner_failed(runner.name, error.reason)


async def relay_or_raise(
    request: web.Request,
    runner: Runner,
    path: str,
    *,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    answer_headers: Mapping[Any, str] | None = None,
) -> web.StreamResponse:
    """As ``relay``. Raises RunnerUnreachable: nothing reached the runner, so another one can be tried."""
    if leads_out(path):
        return answers.empty(404)
    path = path_without_tokens(path)
    body = _Body(request)
    answer: web.StreamResponse | None = None
    sent = request_headers(request) if headers is None else headers
    try:
        async with runner.client.stream(
            request.method, path, params=params, headers=sent, data=body.chunks(), stalled_seconds=SILENT_SECONDS
        ) as reply:
            answer = _answer_for(reply, runner, request, answer_headers)
            await _copy(reply, answer, request)
            return answer
    except _ClientGone:
        if answer is None:
            raise
        return answer
    except RunnerError as error:
        if body.refused is not None:
            raise body.refused from None
        if body.client_failed:
            return answers.empty(400)  # nobody reads it
        log.warning("relay.failed", runner=runner.name, path=path.partition("?")[0], reason=error.reason)
        runner.suspect(error.reason)
        if answer is not None and answer.prepared:
            if request.transport is not None:
                request.transport.abort()  # a cut answer must not look like a whole one
            return answer
        if isinstance(error, RunnerUnreachable):
            raise
        return answers.runner_failed(runner.name, error.reason)


class _ClientGone(Exception):
    """The client's connection ended while it was sent the answer."""


class _Body:
    """The client's body on its way: counted, and its failures told apart from the runner's."""

    def __init__(self, request: web.Request) -> None:
        self.refused: web.HTTPException | None = None
        self.client_failed = False
        self._request = request
        self._most = request.client_max_size
        self._seconds = services(request).config.server.body_seconds  # without a byte
        if (request.content_length or 0) > self._most:
            raise web.HTTPRequestEntityTooLarge(self._most, request.content_length or 0)

    def chunks(self) -> AsyncIterator[bytes] | None:
        """What is to be sent; None where there is no body."""
        return self._counted() if self._request.can_read_body else None

    async def _counted(self) -> AsyncIterator[bytes]:
        size = 0
        chunks = self._request.content.iter_chunked(CHUNK_BYTES)
        while True:
            try:
                async with answers.in_time(self._seconds):
                    chunk = await anext(chunks, None)
            except web.HTTPRequestTimeout as late:
                self.refused = late
                raise
            except Exception:  # whatever aiohttp makes of a client that breaks off or sends no HTTP
                self.client_failed = True
                raise
            if chunk is None:
                return
            size += len(chunk)
            if size > self._most:
                self.refused = web.HTTPRequestEntityTooLarge(self._most, size)
                raise self.refused
            yield chunk


async def _copy(reply: aiohttp.ClientResponse, answer: web.StreamResponse, request: web.Request) -> None:
    try:
        await answer.prepare(request)
    except OSError as error:
        raise _ClientGone from error
    async for chunk in reply.content.iter_any():
        try:
            await answer.write(chunk)
        except OSError as error:
            raise _ClientGone from error
    try:
        await answer.write_eof()
    except OSError as error:
        raise _ClientGone from error


def _location(location: str, runner: Runner, request: web.Request) -> str:
    """Where a runner's redirect leads, as the client has to ask for it."""
    if location.startswith(runner.client.endpoint + "/"):
        location = location.removeprefix(runner.client.endpoint)
    is_path = location.startswith("/") and not location.startswith("//")
    return outward_here(request, location) if is_path else location


def _answer_for(
    reply: aiohttp.ClientResponse, runner: Runner, request: web.Request, extra: Mapping[Any, str] | None
) -> web.StreamResponse:
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in reply.headers.items():
        if name.lower() not in NOT_FOR_CLIENTS:
            headers.add(name, value)
    if hdrs.LOCATION in headers:
        headers[hdrs.LOCATION] = _location(headers[hdrs.LOCATION], runner, request)
    for name, value in {answers.RUNNER_HEADER: runner.name, **(extra or {})}.items():
        headers[name] = value
    return web.StreamResponse(status=reply.status, reason=reply.reason, headers=headers)
