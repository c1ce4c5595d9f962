"""``/api/jobs``: the newer view of queue and history in one, also over runners that do not have it."""

from __future__ import annotations

from aiohttp import web

from gateway.access.callers import caller_of
from gateway.api import answers
from gateway.api.others import note_others
from gateway.api.services import services
from gateway.comfyui import jobs_api
from gateway.comfyui.jobs_api import JobsQueryError


async def get_jobs(request: web.Request) -> web.Response:
    """Lists jobs (ComfyUI server.py get_jobs)."""
    try:
        query = jobs_api.parse_query(request.query)
    except JobsQueryError as error:
        return answers.json(error.body, status=400)
    return answers.json(services(request).jobs.listed(caller_of(request).within, query))


async def get_job(request: web.Request) -> web.Response:
    """One job with its outputs and workflow (ComfyUI server.py get_job_by_id)."""
    return await _detail(request, request.match_info["job_id"])


async def get_job_cancel(request: web.Request) -> web.Response:
    """The job with the id ``cancel``: ComfyUI has no ``GET`` of its own there."""
    return await _detail(request, "cancel")


async def _detail(request: web.Request, job_id: str) -> web.Response:
    rooms, within = services(request), caller_of(request).within
    found = await rooms.jobs.detail(job_id, within)
    if found is None:
        return answers.json({"error": "Job not found"}, status=404)
    live = rooms.jobs.job(job_id, within)
    runner = live.runner if live else await rooms.jobs.history.runner_of(job_id)
    return answers.json(found, headers=answers.concerning(runner, job_id))


async def cancel_job(request: web.Request) -> web.Response:
    """Cancels one job, whatever it does (ComfyUI server.py cancel_job)."""
    rooms = services(request)
    job = rooms.jobs.job(request.match_info["job_id"], caller_of(request).within)
    if job is None:
        return answers.json({"cancelled": False})
    note_others(request, "job.cancel", [job])
    return answers.json({"cancelled": await rooms.jobs.control.cancel(job)})


async def cancel_jobs(request: web.Request) -> web.Response:
    """Cancels several jobs; unknown and ended ones are passed over (ComfyUI server.py cancel_jobs)."""
    try:
        body = await answers.body_json(request)
    except ValueError:
        return answers.json({"error": "Request body must be valid JSON"}, status=400)
    try:
        job_ids = jobs_api.cancel_ids(body)
    except JobsQueryError as error:
        return answers.json(error.body, status=400)
    rooms, within = services(request), caller_of(request).within
    found = [job for job_id in job_ids if (job := rooms.jobs.job(job_id, within)) is not None]
    note_others(request, "job.cancel", found)
    return answers.json({"cancelled": await rooms.jobs.control.cancel_all(found)})
