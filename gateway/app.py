"""Composes a gateway from its rooms. Nothing else does."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from gateway.access.gate import Gate
from gateway.access.limits import Limits
from gateway.access.standing import standing_of
from gateway.access.tokens import Tokens
from gateway.api.services import Services
from gateway.clock import Clock
from gateway.config import Config, RunnerConfig
from gateway.files.archive import Archive
from gateway.files.outputs import OutputNames
from gateway.files.pictures import Desk
from gateway.files.staging import Staging
from gateway.files.stored import Stored
from gateway.files.uploads import Uploads
from gateway.files.userdata import UserData
from gateway.jobs.jobs import Jobs
from gateway.jobs.overview import Overview
from gateway.jobs.roster import Roster
from gateway.jobs.secrets import Secrets
from gateway.metrics.collector import Rooms, RoomsCollector
from gateway.metrics.meters import Meters
from gateway.runners.addresses import EndpointRules
from gateway.runners.definitions import Shelf
from gateway.runners.errors import RunnerMisanswered, RunnerUnreachable
from gateway.runners.link import link_sid
from gateway.runners.pool import Pool
from gateway.runners.runner import Runner
from gateway.sessions.hub import Hub
from gateway.storage import meta
from gateway.storage.blobs import BlobStore
from gateway.storage.database import Database
from gateway.storage.files import OutputRow
from gateway.storage.key_file import read_or_make
from gateway.storage.sealing import Seal
from gateway.webhooks.webhooks import Webhooks
from gateway.workflows.keeping import Keeper
from gateway.workflows.signing import Signer
from gateway.workflows.templates import Templates
from gateway.workflows.workflows import Workflows

CHUNK_BYTES = 64 * 1024
KEY_FILE = "gateway.key"  # in data_dir
USERDATA_FOLDER = "userdata"  # in data_dir
GATEWAY_ID, SINCE = "gateway_id", "since"  # keys in the database's meta table


@asynccontextmanager
async def gateway(config: Config, clock: Clock | None = None) -> AsyncIterator[Services]:
    """A running gateway without its HTTP side. Rooms are opened from the ground up, and closed the other way round.

    Raises StorageError: the database cannot be used.
    """
    clock = clock or Clock()
    async with AsyncExitStack() as rooms:
        key = _key(config)
        db = await Database.open(config.database_url, synchronous=config.database.synchronous)
        rooms.push_async_callback(db.close)
        access = Gate(config.access, db, clock)
        rooms.push_async_callback(access.close)
        limits = Limits(config.limits, access.tokens, clock)
        pool = Pool()
        rooms.push_async_callback(pool.stop)
        files = await _files(config, db, pool, limits, clock, rooms)
        hub = Hub(lambda: pool.features(config.server.max_upload_size), config.sessions, clock)
        jobs = Jobs(config, db, pool, files.outputs, files.archive, files.staging, hub, clock, Secrets(key))
        _introduce(jobs, hub, access, limits, config.scheduling.weights)
        rooms.push_async_callback(jobs.stop)
        webhooks = Webhooks(db, jobs.registry, clock, config=config.webhooks, rules=jobs.receivers.rules, key=key)
        jobs.on_message = webhooks.heard
        rooms.push_async_callback(webhooks.close)
        rooms.push_async_callback(hub.close)
        gateway_id = await _noted(db, GATEWAY_ID, uuid.uuid4().hex)
        since = int(await _noted(db, SINCE, str(clock.wall_ms())))
        make_runner = _maker(config, gateway_id, jobs, clock)
        roster = Roster(db, clock, Seal(key, "runners' headers"), gateway_id)
        await roster.load(config.runners)
        for runner_config in roster.wanted():
            pool.add(make_runner(runner_config))
        meters = _metered(Rooms(pool, jobs, hub, db, files.outputs, files.archive, webhooks, config.data_dir), clock)
        fleet = roster.fleet = jobs.fleet(make_runner, config.failover.drain_seconds)
        rooms.push_async_callback(fleet.close)
        workflows = Workflows(db, jobs, files.uploads, files.archive, clock)
        workflows.tell_refusals(webhooks.refused)
        rooms.push_async_callback(workflows.close)
        if not config.archive.enabled:
            keeper = Keeper(files.archive, files.outputs, workflows.files_of)
            jobs.registry.watchers.append(keeper)
            rooms.push_async_callback(keeper.close)
        templates = Templates(db, clock, most=config.workflows.max_templates)
        services = Services(
            gateway_id=gateway_id,
            since=since,
            clock=clock,
            config=config,
            db=db,
            blobs=files.blobs,
            pool=pool,
            uploads=files.uploads,
            outputs=files.outputs,
            staging=files.staging,
            jobs=jobs,
            hub=hub,
            userdata=files.userdata,
            desk=Desk(),
            archive=files.archive,
            fleet=fleet,
            roster=roster,
            meters=meters,
            overview=Overview(db, jobs.registry, jobs.dispatcher, fleet, clock),
            access=access,
            limits=limits,
            workflows=workflows,
            templates=templates,
            webhooks=webhooks,
            signer=Signer(key, clock, seconds=config.workflows.url_seconds),
        )
        await _start(services)
        yield services


async def _start(rooms: Services) -> None:
    """Each finds what its earlier life has left, and begins."""
    await rooms.access.start()
    await rooms.webhooks.load()
    await rooms.jobs.start()
    await rooms.webhooks.start()
    await rooms.workflows.start()
    await rooms.templates.start()
    rooms.archive.start()
    rooms.fleet.start()


def _introduce(jobs: Jobs, hub: Hub, access: Gate, limits: Limits, weights: Mapping[str, float]) -> None:
    """What jobs ask those above them, and tell them."""
    hub.live = jobs
    hub.on_told = jobs.told
    jobs.submissions.runs_alone = hub.runs_alone
    access.on_change = jobs.dispatcher.schedule  # owners may have more at runners than before
    jobs.registry.running_most = lambda owner: limits.of_owner(owner).running
    jobs.submissions.share_of = _shares(access.tokens, weights)
    jobs.submissions.pending_most = lambda owner: limits.of_owner(owner).pending


def _maker(config: Config, gateway_id: str, jobs: Jobs, clock: Clock) -> Callable[[RunnerConfig], Runner]:
    rules = EndpointRules(config.endpoints.runner)
    shelf = Shelf()

    def make_runner(runner: RunnerConfig) -> Runner:
        sid = link_sid(gateway_id, runner.name)
        return Runner(runner, sid, jobs, health=config.health, clock=clock, rules=rules, shelf=shelf)

    return make_runner


def _shares(tokens: Tokens, weights: Mapping[str, float]) -> Callable[[str, int], tuple[float, int]]:
    """What an owner may claim: its weight, and of the priority that a job asks for as much as it may have."""

    def share_of(owner: str, priority: int) -> tuple[float, int]:
        standing = standing_of(owner, tokens.live_of(owner), weights)
        return standing.weight, standing.priority(priority)

    return share_of


def _metered(rooms: Rooms, clock: Clock) -> Meters:
    """What Prometheus is told of these rooms: counted as it happens, or read when it asks."""
    meters = Meters(clock)
    rooms.db.watch_commits(meters.committed)
    rooms.jobs.registry.watchers.append(meters)
    meters.registry.register(RoomsCollector(rooms, clock))
    return meters


def _key(config: Config) -> bytes:
    """The key that signs and seals: the configuration's, else the one that was made at the first start. Raises
    StorageError."""
    given = config.access.secrets_key
    return given.get_secret_value().encode() if given is not None else read_or_make(config.data_dir / KEY_FILE)


@dataclass(frozen=True, slots=True)
class _Files:
    blobs: BlobStore
    uploads: Uploads
    outputs: OutputNames
    archive: Archive
    staging: Staging
    userdata: UserData


async def _files(
    config: Config, db: Database, pool: Pool, limits: Limits, clock: Clock, rooms: AsyncExitStack
) -> _Files:
    """The rooms of files. Uploads and outputs share each owner's address space."""
    blobs = BlobStore(config.blobs_url)
    await blobs.clean()
    stored = Stored(lambda owner: limits.of_owner(owner).max_stored_bytes)
    uploads = Uploads(db, blobs, reserved=lambda *name: outputs.is_taken(*name), stored=stored)
    outputs = OutputNames(db, reserved=uploads.is_taken, stored=stored)
    await uploads.load()
    await outputs.load()
    archive = Archive(
        outputs,
        uploads,
        blobs,
        fetch_output=lambda row: _fetch(pool, row),
        settings=config.archive,
        clock=clock,
        stored=stored,
    )
    rooms.push_async_callback(archive.close)
    staging = Staging(uploads, outputs, blobs, content_of=archive.ensure)
    rooms.push_async_callback(staging.close)
    multi_user = config.userdata.multi_user and not config.access.wants_tokens
    userdata = UserData(config.data_dir / USERDATA_FOLDER, multi_user=multi_user)
    await userdata.open()
    return _Files(blobs, uploads, outputs, archive, staging, userdata)


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


async def _noted(db: Database, key: str, made: str) -> str:
    """What the first start has noted in the database. Runners know the gateway by what is drawn from its id."""
    known = await meta.get_meta(db, key)
    if known is not None:
        return known
    await db.write(meta.set_meta(key, made))
    return made
