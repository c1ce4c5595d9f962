"""Which runner a request goes to that only a runner can answer: the routes of custom nodes."""

from __future__ import annotations

from aiohttp import hdrs, web

from gateway.access.callers import caller_of
from gateway.api.asking import NoRunner, bound_to
from gateway.api.services import services
from gateway.jobs.states import JobState
from gateway.runners.runner import Runner


def runner_for(request: web.Request) -> Runner:
    """The runner that executes a job of this client, else the one that its browser is bound to, else the primary.

    A node that asks its user something while it runs gets the answer. Of several running jobs it is the one that began
    first: a tab is told of its jobs one after the other. Raises NoRunner.
    """
    return _executing(request) or bound_to(request)


def holder_of_named_file(request: web.Request) -> tuple[Runner, str] | None:
    """The runner that wrote the output which the query names as ``/view`` does, and the path with its own name of it.

    Previews of custom nodes (``/vhs/viewvideo?filename=…&type=output``) read a runner's files by the names that they
    were told, which are the pool's. None: the query names no output that a runner has.
    """
    query, rooms = request.query, services(request)
    filename, kind = query.get("filename"), query.get("type", "output")
    if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD) or not filename:
        return None
    row = rooms.outputs.find(kind, query.get("subfolder", ""), filename)
    runner = rooms.pool.get(row.runner) if row is not None and not row.lost else None
    if row is None or runner is None or not runner.is_ready:
        return None
    own = {"filename": row.runner_filename}
    if query.get("subfolder", "") != row.runner_subfolder:
        own["subfolder"] = row.runner_subfolder
    return runner, request.rel_url.update_query(own).raw_path_qs


def another_than(request: web.Request, gone: Runner) -> Runner:
    """Who answers instead of a runner that turned out to be unreachable. Raises NoRunner."""
    runner = bound_to(request)
    if runner is gone:
        raise NoRunner(f"runner {gone.name} cannot be reached")
    return runner


def _executing(request: web.Request) -> Runner | None:
    rooms, caller = services(request), caller_of(request)
    client_id = request.query.get("clientId")
    if caller.client_ids is None and not client_id:
        return None
    running = [
        job
        for job in rooms.jobs.live(caller.owner, JobState.RUNNING)
        if (client_id and job.client_id == client_id)
        or (caller.client_ids is not None and job.client_id in caller.client_ids)
    ]
    begun = sorted((job.attempt.started_at or 0, job.attempt.runner) for job in running if job.attempt is not None)
    for _, name in begun:
        runner = rooms.pool.get(name)
        if runner is not None and runner.is_ready:
            return runner
    return None
