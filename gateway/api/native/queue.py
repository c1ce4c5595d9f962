"""``/queue``, ``/interrupt`` and ``/free``."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from aiohttp import hdrs, web

from gateway.access.callers import Caller, caller_of
from gateway.access.token import MANAGE
from gateway.api import answers, pieces
from gateway.api.others import note_others
from gateway.api.pools import pool_of
from gateway.api.services import Services, services
from gateway.jobs.job import Job
from gateway.jobs.learning import Learner
from gateway.jobs.states import JobState
from gateway.runners.errors import RunnerError
from gateway.runners.runner import Runner

COMPRESSED_FROM = 32  # jobs

log = structlog.get_logger(__name__)


async def get_queue(request: web.Request) -> web.StreamResponse:
    """What runs and what waits (ComfyUI server.py get_queue); a long queue compressed, where that is accepted."""
    listing = services(request).jobs.queue(caller_of(request).within)
    if len(listing) < COMPRESSED_FROM:
        return await pieces.send(request, listing.pieces())
    headers: dict[str, str] = {hdrs.VARY: hdrs.ACCEPT_ENCODING}
    if "deflate" in request.headers.get(hdrs.ACCEPT_ENCODING, "").lower():
        headers[hdrs.CONTENT_ENCODING] = "deflate"
        return await pieces.send(request, await listing.deflated(), headers)
    return await pieces.send(request, listing.pieces(), headers)


async def post_queue(request: web.Request) -> web.Response:
    """``clear`` and ``delete``; ids that are unknown, or run, are passed over (ComfyUI server.py post_queue)."""
    try:
        clear, delete = await answers.clear_and_delete(request)
    except ValueError:
        return answers.failed()
    rooms, caller = services(request), caller_of(request)
    jobs = _unstarted(rooms, caller) if clear else []
    jobs += [job for job_id in delete if (job := rooms.jobs.job(job_id, caller.within)) is not None]
    note_others(request, "job.delete", jobs)
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
        job = rooms.jobs.job(str(body["prompt_id"]), caller.within)
        named = [job] if job else []
        note_others(request, "job.interrupt", named)
        await rooms.jobs.control.interrupt(named)
    else:
        running = [job for job in rooms.jobs.live(caller.owner, JobState.RUNNING) if caller.reaches(job)]
        await rooms.jobs.control.interrupt(running)
    return answers.empty()


async def post_free(request: web.Request) -> web.Response:
    """Tells runners to unload models and free memory after their current job (ComfyUI server.py post_free).

    All runners, if the caller may manage them. Another's call leaves alone the runners that have jobs of other owners:
    these would have to load their models again.
    """
    try:
        body = await answers.body_json(request)
        flags = {key: bool(body.get(key, False)) for key in ("unload_models", "free_memory")}
    except (ValueError, TypeError, AttributeError):
        return answers.failed()
    rooms, caller = services(request), caller_of(request)
    ready = pool_of(request).ready()
    runners = [runner for runner in ready if MANAGE in caller.scopes or _is_free_to(rooms, caller, runner)]
    await asyncio.gather(*(_free(runner, flags, rooms.jobs.learner) for runner in runners))
    return answers.empty()


def _unstarted(rooms: Services, caller: Caller) -> list[Job]:
    waiting = rooms.jobs.live(caller.owner, JobState.PENDING, JobState.DISPATCHED)
    return [job for job in waiting if caller.reaches(job)]


def _is_free_to(rooms: Services, caller: Caller, runner: Runner) -> bool:
    """Whether nobody else has a job there."""
    return all(attempt.job.owner == caller.owner for attempt in rooms.jobs.registry.attempts_on(runner.name))


async def _free(runner: Runner, flags: dict[str, bool], learner: Learner) -> None:
    try:
        await runner.client.request("POST", "/free", json=flags)
        if any(flags.values()):
            learner.forget(runner.name, "it was told to free its memory")
    except RunnerError as error:
        log.warning("runner.not_freed", runner=runner.name, reason=error.reason)
