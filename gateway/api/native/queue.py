"""``/queue``, ``/interrupt`` and ``/free``."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from aiohttp import web

from gateway.access.callers import Caller, caller_of
from gateway.api import answers
from gateway.api.services import Services, services
from gateway.jobs.job import Job
from gateway.jobs.states import JobState
from gateway.runners.errors import RunnerError
from gateway.runners.runner import Runner

log = structlog.get_logger(__name__)


async def get_queue(request: web.Request) -> web.Response:
    """What runs and what waits (ComfyUI server.py get_queue)."""
    return answers.json_bytes(services(request).jobs.queue(caller_of(request).owner))


async def post_queue(request: web.Request) -> web.Response:
    """``clear`` and ``delete``; ids that are unknown, or run, are passed over (ComfyUI server.py post_queue)."""
    try:
        body = await answers.body_json(request)
        clear, delete = bool(body.get("clear")), [str(job_id) for job_id in body.get("delete", ())]
    except (ValueError, TypeError, AttributeError):
        return answers.failed()
    rooms, caller = services(request), caller_of(request)
    jobs = _unstarted(rooms, caller) if clear else []
    jobs += [job for job_id in delete if (job := rooms.jobs.job(job_id, caller.owner)) is not None]
    await rooms.jobs.control.delete(jobs)
    return answers.empty()


async def post_interrupt(request: web.Request) -> web.Response:
    """Interrupts the named job if it runs, else the caller's running jobs (ComfyUI server.py post_interrupt)."""
    raw = await request.read()
    try:
        body: Any = await answers.body_json(request) if raw else {}
    except ValueError:
        body = {}
    if not isinstance(body, dict):
        return answers.failed()
    rooms, caller = services(request), caller_of(request)
    if body.get("prompt_id"):
        job = rooms.jobs.job(str(body["prompt_id"]), caller.owner)
        await rooms.jobs.control.interrupt([job] if job else [])
    else:
        running = [job for job in rooms.jobs.live(caller.owner, JobState.RUNNING) if caller.reaches(job)]
        await rooms.jobs.control.interrupt(running)
    return answers.empty()


async def post_free(request: web.Request) -> web.Response:
    """Tells every runner to unload models and free memory after its current job (ComfyUI server.py post_free)."""
    try:
        body = await answers.body_json(request)
        flags = {key: bool(body.get(key, False)) for key in ("unload_models", "free_memory")}
    except (ValueError, TypeError, AttributeError):
        return answers.failed()
    await asyncio.gather(*(_free(runner, flags) for runner in services(request).pool.ready()))
    return answers.empty()


def _unstarted(rooms: Services, caller: Caller) -> list[Job]:
    waiting = rooms.jobs.live(caller.owner, JobState.PENDING, JobState.DISPATCHED)
    return [job for job in waiting if caller.reaches(job)]


async def _free(runner: Runner, flags: dict[str, bool]) -> None:
    try:
        await runner.client.request("POST", "/free", json=flags)
    except RunnerError as error:
        log.warning("runner.not_freed", runner=runner.name, reason=error.reason)
