"""For whoever runs the gateway: ``/gateway/health`` and ``/gateway/ready``."""

from __future__ import annotations

from aiohttp import web
from sqlalchemy import literal, select

from gateway.api import answers
from gateway.api.services import services
from gateway.storage.errors import StorageError


async def health(_request: web.Request) -> web.Response:
    """The process answers."""
    return answers.json({"status": "ok"})


async def ready(request: web.Request) -> web.Response:
    """The database is open and a runner is healthy; 503 with the reasons otherwise."""
    rooms = services(request)
    faults = []
    try:
        await rooms.db.read(select(literal(1)))
    except StorageError as error:
        faults.append(f"database: {error}")
    if not any(runner.takes_work for runner in rooms.pool):
        states = [f"{runner.name} is {runner.health.state.value}: {runner.health.reason}" for runner in rooms.pool]
        faults.append("no runner is healthy and active" + (f" ({'; '.join(states)})" if states else ""))
    if faults:
        return answers.json({"status": "not ready", "reasons": faults}, status=503, headers={"Retry-After": "5"})
    return answers.json({"status": "ready"})
