"""Which runner a request goes to that only a runner can answer: the routes of custom nodes."""

from __future__ import annotations

from urllib.parse import unquote

from aiohttp import hdrs, web

from gateway.access.callers import caller_of
from gateway.api.asking import NoRunner, bound_to
from gateway.api.services import services
from gateway.comfyui import names
from gateway.comfyui.outputs import OutputFile
from gateway.jobs.states import JobState
from gateway.runners.runner import Runner

PREFIXES = frozenset({"api", "v2"})
TELL_OF_JOBS_AND_FILES = frozenset(
    {
        *("free", "history", "internal", "interrupt", "jobs", "prompt", "queue", "settings", "userdata", "users"),
        *("view", "ws"),
    }
)  # the first steps of ComfyUI's routes, bare or under a prefix, that the gateway answers itself

UPLOADS = frozenset({("upload", "image"), ("upload", "mask")})  # custom nodes have others beside them


def runner_for(request: web.Request) -> Runner:
    """The runner that executes a job of this client, else the one that its browser is bound to, else the primary.

    A node that asks its user something while it runs gets the answer. Of several running jobs it is the one that began
    first: a tab is told of its jobs one after the other. Raises NoRunner.
    """
    return _executing(request) or bound_to(request)


async def holder_of_named_file(request: web.Request) -> tuple[Runner, str] | None:
    """The runner that has the caller's file which the query names as ``/view`` does, and the path with its name there.

    Previews of custom nodes (``/vhs/viewvideo?filename=…&type=output``) read a runner's files by the names that they
    were told, which are the pool's. An upload is brought to the runner that answers the browser. None: the query names
    no file of the caller's that a runner has. Raises StagingError, NoRunner.
    """
    query, rooms = request.query, services(request)
    filename, kind = query.get("filename"), query.get("type", "output")
    if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD) or not filename:
        return None
    subfolder, owner = query.get("subfolder", ""), caller_of(request).owner
    row = rooms.outputs.find(kind, subfolder, filename, owner)
    if row is not None:
        wrote = rooms.pool.get(row.runner) if not row.lost else None
        if wrote is None or not wrote.is_ready:
            return None
        return wrote, _path_naming(request, row.runner_filename, row.runner_subfolder, row.type)
    upload = rooms.uploads.find(kind, subfolder, filename, owner)
    if upload is None:
        return None
    runner = bound_to(request)
    place = await rooms.staging.bring(upload, runner.client, str(runner.boot))
    return runner, _path_naming(request, place.filename, place.subfolder, place.type)


def names_anothers_file(request: web.Request, runner: Runner) -> bool:
    """Whether the query names a file as ``/view`` does that is not the caller's, and that the runner may have: for
    callers with a token, after ``holder_of_named_file`` has found none of their own."""
    query, rooms, caller = request.query, services(request), caller_of(request)
    filename = query.get("filename")
    if caller.is_admin or not filename:
        return False
    if "type" in query:
        return names.is_file_type(query["type"])
    return rooms.outputs.of_runner(runner.name, OutputFile(filename, query.get("subfolder", ""), "output")) is not None


def is_own_written_otherwise(request: web.Request) -> bool:
    """Whether a path that no route has is one of ComfyUI's own in another spelling, as ``//history`` and ``/view%2F``.
    A proxy before a runner may read it as that, and a runner knows no owners."""
    decoded = unquote(unquote(request.rel_url.raw_path)).replace("\\", "/")
    steps = [step for step in decoded.split("/") if step]
    while steps and steps[0] in PREFIXES:
        del steps[0]
    return bool(steps) and (steps[0] in TELL_OF_JOBS_AND_FILES or tuple(steps[:2]) in UPLOADS)


def _path_naming(request: web.Request, filename: str, subfolder: str, kind: str) -> str:
    """The path with another file in its query."""
    changed = {"filename": filename}
    if request.query.get("subfolder", "") != subfolder:
        changed["subfolder"] = subfolder
    if request.query.get("type", "output") != kind:
        changed["type"] = kind
    return request.rel_url.update_query(changed).raw_path_qs


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
