"""Composes a gateway from its rooms, and runs it. Nothing else does."""

from __future__ import annotations

import asyncio
import signal
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog
from aiohttp import web

from gateway.api.routes import application
from gateway.api.services import Services
from gateway.clock import Clock
from gateway.config import Config
from gateway.files.archive import Archive
from gateway.files.outputs import OutputNames
from gateway.files.pictures import Desk
from gateway.files.staging import Staging
from gateway.files.uploads import Uploads
from gateway.files.userdata import UserData
from gateway.jobs.jobs import Jobs
from gateway.jobs.registry import link_sid
from gateway.runners.errors import RunnerMisanswered, RunnerUnreachable
from gateway.runners.pool import Pool
from gateway.runners.runner import Runner
from gateway.sessions.hub import Hub
from gateway.storage import meta
from gateway.storage.blobs import BlobStore
from gateway.storage.database import Database
from gateway.storage.files import OutputRow

CHUNK_BYTES = 64 * 1024
USERDATA_FOLDER = "userdata"  # in data_dir
GATEWAY_ID = "gateway_id"  # key in the database's meta table

log = structlog.get_logger(__name__)


@asynccontextmanager
async def gateway(config: Config, clock: Clock | None = None) -> AsyncIterator[Services]:
    """A running gateway without its HTTP side. Rooms are opened from the ground up, and closed the other way round.

    Raises StorageError: the database cannot be used.
    """
    clock = clock or Clock()
    async with AsyncExitStack() as rooms:
        db = await Database.open(config.database_url, synchronous=config.database.synchronous)
        rooms.push_async_callback(db.close)
        blobs = BlobStore(config.blobs_url)
        await blobs.clean()
        pool = Pool()
        rooms.push_async_callback(pool.stop)
        uploads, outputs = await _files(db, blobs)
        archive = Archive(
            outputs,
            uploads,
            blobs,
            fetch_output=lambda row: _fetch(pool, row),
            settings=config.archive,
            clock=clock,
        )
        rooms.push_async_callback(archive.close)
        userdata = UserData(config.data_dir / USERDATA_FOLDER, multi_user=config.userdata.multi_user)
        await userdata.open()
        staging = Staging(uploads, outputs, blobs, content_of=archive.ensure)
        rooms.push_async_callback(staging.close)
        hub = Hub(lambda: pool.features(config.server.max_upload_size), config.sessions, clock)
        jobs = Jobs(config, db, pool, outputs, archive, staging, hub, clock)
        hub.live = jobs
        jobs.submissions.runs_alone = hub.runs_alone
        rooms.push_async_callback(jobs.stop)
        rooms.push_async_callback(hub.close)
        gateway_id = await _gateway_id(db)
        for runner_config in config.runners:
            sid = link_sid(gateway_id, runner_config.name)
            pool.add(Runner(runner_config, sid, jobs, health=config.health, clock=clock))
        await jobs.start()
        archive.start()
        pool.start()
        yield Services(config, db, blobs, pool, uploads, outputs, staging, jobs, hub, userdata, Desk(), archive)


async def serve(config: Config) -> None:
    """Serves until SIGINT or SIGTERM.

    Raises StorageError: the database cannot be used. Raises OSError: the address cannot be bound.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    async with gateway(config) as rooms, listening(config, rooms) as port:
        log.info("gateway.serving", url=f"http://{config.server.host}:{port}", runners=len(rooms.pool))
        await stop.wait()
        log.info("gateway.stopping")


@asynccontextmanager
async def listening(config: Config, rooms: Services) -> AsyncIterator[int]:
    """Listens, and yields the port."""
    runner = web.AppRunner(application(rooms), access_log=None, shutdown_timeout=config.server.shutdown_seconds)
    await runner.setup()
    try:
        site = web.TCPSite(runner, config.server.host, config.server.port)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await rooms.hub.close()
        await runner.cleanup()


async def _files(db: Database, blobs: BlobStore) -> tuple[Uploads, OutputNames]:
    """Uploads and outputs, which share one address space."""
    uploads = Uploads(db, blobs, reserved=lambda *name: outputs.is_taken(*name))
    outputs = OutputNames(db, reserved=uploads.is_taken)
    await uploads.load()
    await outputs.load()
    return uploads, outputs


@asynccontextmanager
async def _fetch(pool: Pool, row: OutputRow) -> AsyncIterator[AsyncIterator[bytes]]:
    """The bytes of an output on the runner that wrote it."""
    runner = pool.get(row.runner)
    if runner is None:
        raise RunnerUnreachable(row.runner, "is no longer in the pool")
    params = {"filename": row.runner_filename, "type": row.type, "subfolder": row.runner_subfolder}
    async with runner.client.stream("GET", "/view", params=params) as reply:
        if reply.status != 200:
            raise RunnerMisanswered(
                runner.name, f"/view of {row.runner_filename} answered {reply.status}", reply.status
            )
        yield reply.content.iter_chunked(CHUNK_BYTES)


async def _gateway_id(db: Database) -> str:
    """An id for this gateway's database, made at its first start: runners know the gateway by what is drawn from it."""
    known = await meta.get_meta(db, GATEWAY_ID)
    if known is not None:
        return known
    made = uuid.uuid4().hex
    await db.write(meta.set_meta(GATEWAY_ID, made))
    return made
