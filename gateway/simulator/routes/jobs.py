"""What 0.3.64 lacks: /api/jobs, /global_subgraphs, /node_replacements, and the answers of assets that are off."""

import json

from aiohttp import web

from gateway.comfyui import jobs_api
from gateway.simulator.blueprints import blueprint_workflow
from gateway.simulator.http import json_of, json_response, state_of
from gateway.simulator.routes.prompts import is_canonical_uuid
from gateway.simulator.runner import RunnerState

ASSETS_ARE_OFF = {
    "error": {
        "code": "SERVICE_DISABLED",
        "message": "Assets system is disabled. Start the server with --enable-assets to use this feature.",
        "details": {},
    }
}


async def get_jobs(request: web.Request) -> web.Response:
    """Running, pending and ended prompts as rows."""
    queue = state_of(request).queue
    try:
        query = jobs_api.parse_query(request.query)
    except jobs_api.JobsQueryError as error:
        return json_response(error.body, status=400)
    rows = [
        jobs_api.pending_row(item[1], item[0], item[3], status=jobs_api.IN_PROGRESS) for item in queue.running.values()
    ]
    rows += [jobs_api.pending_row(item[1], item[0], item[3]) for item in queue.pending]
    rows += [jobs_api.from_history(entry, prompt_id) for prompt_id, entry in queue.history.items()]
    return json_response(jobs_api.select(rows, query))


async def get_job(request: web.Request) -> web.Response:
    """One prompt with all that is known of it."""
    job_id = request.match_info["job_id"]
    queue = state_of(request).queue
    if job_id in queue.history:
        return json_response(jobs_api.detail(queue.history[job_id], job_id))
    for status, items in ((jobs_api.IN_PROGRESS, queue.running.values()), (jobs_api.PENDING, queue.pending)):
        for item in items:
            if item[1] == job_id:
                return json_response(jobs_api.pending_row(job_id, item[0], item[3], status=status))
    return json_response(jobs_api.JOB_NOT_FOUND, status=404)


async def cancel_job(request: web.Request) -> web.Response:
    """Cancel one prompt, whatever its state."""
    return json_response({"cancelled": _cancel(state_of(request), request.match_info["job_id"])})


async def cancel_jobs(request: web.Request) -> web.Response:
    """Cancel several prompts; ids that are none refuse the whole request."""
    try:
        body = await json_of(request)
    except json.JSONDecodeError:
        return json_response({"error": "Request body must be valid JSON"}, status=400)
    job_ids = body.get("job_ids") if isinstance(body, dict) else None
    if not isinstance(job_ids, list):
        return json_response({"error": "job_ids must be a list"}, status=400)
    invalid = [
        job_id if isinstance(job_id, str) else repr(job_id) for job_id in job_ids if not is_canonical_uuid(job_id)
    ]
    if invalid:
        return json_response({"error": "job_ids contains invalid id(s)", "invalid_ids": invalid}, status=400)
    cancelled = [_cancel(state_of(request), job_id) for job_id in job_ids]
    return json_response({"cancelled": any(cancelled)})


def _cancel(state: RunnerState, job_id: str) -> bool:
    if state.queue.is_running(job_id):
        state.gpu.interrupt()
        return True
    return state.queue.delete(job_id)


async def get_subgraphs(request: web.Request) -> web.Response:
    """Subgraphs that come with the server."""
    return json_response(state_of(request).personality.global_subgraphs)


async def get_subgraph(request: web.Request) -> web.Response:
    """One of them with its data, or null."""
    subgraph = state_of(request).personality.global_subgraphs.get(request.match_info["id"])
    return json_response(None if subgraph is None else {**subgraph, "data": blueprint_workflow()})


async def get_node_replacements(request: web.Request) -> web.Response:
    """Which old nodes newer ones stand in for."""
    return json_response(state_of(request).personality.node_replacements)


async def assets_are_off(_: web.Request) -> web.Response:
    """The answer of every route of the assets."""
    return json_response(ASSETS_ARE_OFF, status=503)


ROUTES = (
    web.get("/api/jobs", get_jobs),
    web.get("/api/jobs/{job_id}", get_job),
    web.post("/api/jobs/{job_id}/cancel", cancel_job),
    web.post("/api/jobs/cancel", cancel_jobs),
    web.get("/global_subgraphs", get_subgraphs),
    web.get("/global_subgraphs/{id}", get_subgraph),
    web.get("/node_replacements", get_node_replacements),
)

ASSET_ROUTES = (
    web.route("*", "/api/assets", assets_are_off),
    web.route("*", "/api/assets/{rest:.*}", assets_are_off),
    web.get("/api/tags", assets_are_off),
)
"""These exist once, without a second /api."""
