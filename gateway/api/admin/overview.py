"""``GET /gateway/api/jobs/{id}`` and ``GET /gateway/api/runners``: where a job or a runner stands, and why."""

from __future__ import annotations

from aiohttp import web

from gateway.access.callers import caller_of, require
from gateway.access.token import MANAGE
from gateway.api import answers
from gateway.api.services import services
from gateway.comfyui import errors


async def get_job(request: web.Request) -> web.Response:
    """The whole story of one of the caller's jobs, of anybody's for an admin, for as long as the database has it; 404
    otherwise."""
    job_id = request.match_info["job_id"]
    story = await services(request).overview.job(job_id, caller_of(request).within)
    if story is None:
        return answers.json(errors.error_body("job_not_found", "There is no such job", job_id), status=404)
    return answers.json(story)


async def get_runners(request: web.Request) -> web.Response:
    """Every runner, in the order of the configuration, of the jobs on it the ids of those that the caller sees; and the
    models that are kept loaded."""
    caller = require(request, MANAGE)
    rooms = services(request)
    told = [rooms.overview.runner(runner, caller.within) for runner in rooms.pool]
    kept = [each if caller.within is None else {**each, "job": None} for each in rooms.jobs.kept_warm()]
    return answers.json({"runners": told, "keep_warm": kept})
