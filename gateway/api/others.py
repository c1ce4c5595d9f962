"""What an admin does to others' jobs is noted in the audit trail, job by job."""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from gateway.access.callers import caller_of
from gateway.access.trail import audit
from gateway.jobs.history import Ended
from gateway.jobs.job import Job


def note_others(request: web.Request, action: str, jobs: Iterable[Job | Ended]) -> None:
    """Notes what the caller is about to do to those of the jobs that are not its own. Without tokens all are."""
    caller = caller_of(request)
    if caller.token is None or not caller.is_admin:
        return
    for job in jobs:
        if job.owner != caller.owner:
            audit(request, action, job.id, owner=job.owner)
