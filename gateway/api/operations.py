"""For whoever runs the gateway: ``/gateway/health``, ``/gateway/ready`` and ``/gateway/metrics``."""

from __future__ import annotations

from contextlib import suppress

from aiohttp import hdrs, web
from prometheus_client.exposition import choose_encoder
from sqlalchemy import literal, select

from gateway.access.callers import caller_of, require
from gateway.access.token import ADMIN, MANAGE
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
    if not rooms.jobs.submissions.is_open:
        faults.append("the gateway is stopping")
    try:
        await rooms.db.read(select(literal(1)))
    except StorageError as error:
        faults.append(f"database: {error}")
    if not any(runner.takes_work for runner in rooms.pool):
        states = [f"{runner.name} is {runner.health.state.value}: {runner.health.reason}" for runner in rooms.pool]
        faults.append("no runner is healthy and active" + (f" ({'; '.join(states)})" if states else ""))
    if faults:
        told = {"status": "not ready"} | ({"reasons": faults} if _may_know(request) else {})
        return answers.json(told, status=503, headers={"Retry-After": "5"})
    return answers.json({"status": "ready"})


def _may_know(request: web.Request) -> bool:
    """Whether the caller is told of runners and of the database: load balancers need the status only."""
    return services(request).config.access.open_metrics or MANAGE in caller_of(request).scopes


async def metrics(request: web.Request) -> web.Response:
    """What Prometheus scrapes, in its text format or in OpenMetrics as it asks."""
    if not services(request).config.access.open_metrics:
        require(request, ADMIN)
    with suppress(StorageError):  # then it is told as it was; the database's own metrics say what is wrong
        await services(request).webhooks.look_at_outbox()
    encode, content_type = choose_encoder(request.headers.get(hdrs.ACCEPT, ""))
    body = encode(services(request).meters.registry)
    return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})
