"""The routes that Comfy Cloud has and one ComfyUI has not, for clients that are written for it: ``/api/user``,
``/api/history_v2`` and ``/api/job/{id}/status``. Its other routes are ComfyUI's own, under ``/api``.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.access.callers import caller_of
from gateway.api import answers
from gateway.api.services import services
from gateway.comfyui import cloud, json_text

LISTED_MOST = 1_000  # entries in one answer, which is put together in memory


async def get_user(_request: web.Request) -> web.Response:
    """Whoever got here is welcome."""
    return answers.json({"status": "active"})


async def get_history(request: web.Request) -> web.Response:
    """A page of the history, the newest first."""
    try:
        most = min(int(request.query.get("max_items", LISTED_MOST)), LISTED_MOST)
        offset = int(request.query.get("offset", 0))
    except ValueError:
        most = offset = -1
    if most < 0 or offset < 0:
        message = "max_items and offset are numbers, and not negative"
        return answers.json(cloud.error("bad_request", message), status=400)
    history = services(request).jobs.history
    newest = await history.entries(caller_of(request).within, most + offset, -1) if most else []
    page = list(reversed(newest))[offset:]
    entries: list[dict[str, Any]] = [cloud.listed(json_text.loads(entry), job_id) for job_id, entry in page]
    return answers.json({"history": entries})


async def get_history_of(request: web.Request) -> web.Response:
    """One entry by its id; 404 while the job has none."""
    job_id = request.match_info["prompt_id"]
    entry = await services(request).jobs.history.entry(job_id, caller_of(request).within)
    if entry is None:
        return answers.json(cloud.error("not_found", "There is no history of this prompt"), status=404)
    return answers.json({job_id: cloud.entry(json_text.loads(entry))}, headers=answers.concerning(None, job_id))


async def get_status(request: web.Request) -> web.Response:
    """Where a job stands."""
    job_id, within, rooms = request.match_info["job_id"], caller_of(request).within, services(request)
    detail = await rooms.jobs.detail(job_id, within)
    if detail is None:
        return answers.json(cloud.error("not_found", "There is no such job"), status=404)
    live = rooms.jobs.job(job_id, within)
    runner = live.runner if live else await rooms.jobs.history.runner_of(job_id)
    return answers.json(cloud.job_status(detail, runner), headers=answers.concerning(runner, job_id))


ROUTES = [
    web.get("/api/user", get_user),
    web.get("/api/history_v2", get_history),
    web.get("/api/history_v2/{prompt_id}", get_history_of),
    web.get("/api/job/{job_id}/status", get_status),
]
