"""Answers in ComfyUI's own form, and reading its requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import hdrs, web

from gateway.api.services import services
from gateway.comfyui import errors, json_text

RUNNER_HEADER = "X-Gateway-Runner"
JOB_HEADER = "X-Gateway-Job"
RETRY_SECONDS = 5
JSON = "application/json; charset=utf-8"


def json(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """JSON as ComfyUI labels it."""
    return json_bytes(json_text.dump_bytes(value), status=status, headers=headers)


def json_bytes(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """JSON that is serialised already."""
    return web.Response(body=body, status=status, headers={hdrs.CONTENT_TYPE: JSON, **(headers or {})})


def empty(status: int = 200) -> web.Response:
    """No body and no type, as ComfyUI answers commands."""
    return web.Response(status=status)


def failed() -> web.Response:
    """What aiohttp, and so ComfyUI, answers when a handler fails on its input."""
    answer = web.Response(status=500, text="500 Internal Server Error\n\nServer got itself in trouble")
    answer.force_close()
    return answer


def no_runner(details: str) -> web.Response:
    """503: only a runner could answer, and none is up."""
    return json(errors.no_runner_available(details), status=503, headers={"Retry-After": str(RETRY_SECONDS)})


def runner_failed(runner: str, reason: str) -> web.Response:
    """502: a runner was asked, and did not answer."""
    body = errors.error_body("runner_failed", f"Runner {runner} did not answer", reason, {"runner": runner})
    return json(body, status=502, headers=concerning(runner, None))


async def body_json(request: web.Request) -> Any:
    """The request's JSON, whatever its content type. Raises ValueError where it is none, and HTTPRequestTimeout where
    the body does not come in time."""
    if request.content.is_eof():  # all of it is here, as is usual
        body = await request.read()
    else:
        async with in_time(services(request).config.server.body_seconds):
            body = await request.read()
    return json_text.loads(body)


async def clear_and_delete(request: web.Request) -> tuple[bool, list[str]]:
    """What a change of the queue or of the history asks for: everything, and which ids (ComfyUI server.py post_queue,
    post_history). Raises ValueError where ComfyUI falls over."""
    try:
        body = await body_json(request)
        return bool(body.get("clear")), [str(job_id) for job_id in body.get("delete", ())]
    except (TypeError, AttributeError) as error:
        raise ValueError(str(error)) from error


@asynccontextmanager
async def in_time(seconds: float) -> AsyncIterator[None]:
    """Within, a client's body has so long to arrive. Raises HTTPRequestTimeout, which closes the connection."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        text = json_text.dumps(errors.body_too_slow(seconds))
        late = web.HTTPRequestTimeout(text=text, content_type="application/json")
        late.force_close()
        raise late from None


def concerning(runner: str | None, job: str | None) -> dict[str, str]:
    """The headers that say which runner and which job an answer concerns."""
    found = {RUNNER_HEADER: runner, JOB_HEADER: job}
    return {name: value for name, value in found.items() if value is not None and _is_header_safe(value)}


def _is_header_safe(value: str) -> bool:
    return value.isprintable() and value.isascii()
