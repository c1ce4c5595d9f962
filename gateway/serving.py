"""Serves a gateway over HTTP(S) until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import importlib
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import structlog
from aiohttp import web

from gateway import signals
from gateway.api.connections import Connection, SlowReaders
from gateway.api.prefix import under
from gateway.api.services import Services
from gateway.api.tag_paths import with_tags
from gateway.app import gateway
from gateway.config import Config
from gateway.reload import Reloader
from gateway.tls import Certificates

API = "gateway.api.routes"
MEETING_SECONDS = 0.5  # for runners to be met before clients are served, where jobs wait for them
BACKLOG = 128  # connections that wait to be accepted
CLOSING_SECONDS = 2.0  # for clients to answer the close of their websocket
COLLECTOR_THRESHOLDS = (20_000, 20, 50)  # new objects, and rounds, before each generation is walked through
SWITCH_SECONDS = 0.0005  # a thread waits so long for the interpreter: once for each statement of the database

log = structlog.get_logger(__name__)


async def serve(config: Config, read: Callable[[], Config] | None = None) -> None:
    """Serves until SIGINT or SIGTERM, which drain; a second one ends at once. SIGHUP reads the configuration again.

    Args:
        config: what to serve with.
        read: reads the configuration again; without it SIGHUP means what it means to every process.

    Raises StorageError: the database cannot be used. Raises OSError: the address cannot be bound. Raises ConfigError:
    the certificate cannot be used.
    """
    stop = signals.stopping()
    certificates = Certificates.of(config.tls)
    async with gateway(config) as rooms, listening(config, rooms, certificates) as port:
        _show(await rooms.access.first_admin())
        _spare_what_lasts()
        reloader = Reloader(config, read, rooms.roster, certificates) if read is not None else None
        async with signals.reloading(reloader):
            log.info("gateway.serving", url=_url(config, port), runners=len(rooms.pool))
            await stop.wait()
        log.info("gateway.stopping", waits_seconds=config.server.shutdown_seconds)
        await rooms.jobs.drain(config.server.shutdown_seconds)
    log.info("gateway.stopped")


def _url(config: Config, port: int) -> str:
    scheme = "http" if config.tls.certificate is None else "https"
    host = f"[{config.server.host}]" if ":" in config.server.host else config.server.host
    return f"{scheme}://{host}:{port}{config.server.prefix}"


@asynccontextmanager
async def listening(config: Config, rooms: Services, certificates: Certificates | None = None) -> AsyncIterator[int]:
    """Listens, and yields the port. Without ``certificates`` those of the configuration are read.

    aiohttp closes a connection on which no whole request came for ``idle_seconds``: an idle one, and one whose headers
    trickle in. Raises ConfigError: the certificate cannot be used. Raises OSError: the address cannot be bound.
    """
    certificates = certificates or Certificates.of(config.tls)
    runner = web.AppRunner(await _application(rooms), access_log=None, shutdown_timeout=config.server.shutdown_seconds)
    await runner.setup()
    assert runner.server is not None
    runner.server.request_factory = with_tags(runner.server.request_factory)
    if config.server.prefix:
        runner.server.request_factory = under(config.server.prefix, runner.server.request_factory)
    readers = SlowReaders(config.server.slow_reader_seconds, rooms.meters.reader_aborted)
    watching = asyncio.create_task(readers.watch(), name="slow readers")
    connection = partial(
        Connection, readers, runner.server, access_log=None, keepalive_timeout=config.server.idle_seconds
    )
    try:
        listener = await asyncio.get_running_loop().create_server(
            connection,
            config.server.host,
            config.server.port,
            ssl=certificates.context if certificates is not None else None,
            backlog=BACKLOG,
        )
        try:
            yield int(listener.sockets[0].getsockname()[1])
        finally:
            with suppress(TimeoutError):
                await asyncio.wait_for(rooms.hub.close(), CLOSING_SECONDS)
            listener.close()
    finally:
        await runner.cleanup()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _application(rooms: Services) -> web.Application:
    """The HTTP API. To import it takes the processor for a while: where jobs of an earlier life wait, runners are met
    first, so that they have work meanwhile; unless that takes longer than clients should be kept waiting for it."""
    if API not in sys.modules and rooms.jobs.registry.waiting:
        await rooms.jobs.submissions.first_contact(MEETING_SECONDS)
    routes = await asyncio.to_thread(importlib.import_module, API)
    application: web.Application = routes.application(rooms)
    return application


def _show(first_admin: str | None) -> None:
    """Shows a token that has just been made, once, and past the log."""
    if first_admin is not None:
        sys.stderr.write(
            f"\nThe first admin's token, shown this once:\n\n    {first_admin}\n\n"
            "More are made with: comfy-gateway tokens create\n\n"
        )
        sys.stderr.flush()


def _spare_what_lasts() -> None:
    """Has the garbage collector pass over all that is there after the start: the code, and the jobs of earlier lives.
    A walk through it takes a tenth of a second and more, in which nobody is answered. The command turns the collector
    off for the start, which makes much that lasts and hardly any garbage. And has threads take turns."""
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    gc.enable()
    sys.setswitchinterval(SWITCH_SECONDS)
