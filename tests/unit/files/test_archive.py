import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.clock import DAY_MS, Clock
from gateway.comfyui.outputs import OutputFile
from gateway.config import ArchiveConfig
from gateway.files.archive import Archive
from gateway.files.outputs import OutputNames
from gateway.files.uploads import Uploads
from gateway.runners.errors import RunnerMisanswered, RunnerUnreachable
from gateway.storage.blobs import BlobStore
from gateway.storage.database import Database


class TurnedClock(Clock):
    def __init__(self) -> None:
        self.ms = 1_000_000_000_000
        self.set_forward_ms = 0

    def wall_ms(self) -> int:
        return self.ms + self.set_forward_ms

    def monotonic(self) -> float:
        return self.ms / 1000


class World:
    """An archive over one runner whose files are in a dict."""

    def __init__(self, db: Database, blobs: BlobStore, settings: ArchiveConfig) -> None:
        self.db = db
        self.blobs = blobs
        self.clock = TurnedClock()
        self.uploads = Uploads(db, blobs, clock=self.clock)
        self.outputs = OutputNames(db, clock=self.clock)
        self.on_runner: dict[str, bytes] = {}
        self.error: Exception | None = None
        self.opened: list[str] = []
        self.archive = Archive(
            self.outputs, self.uploads, blobs, fetch_output=self.fetch, settings=settings, clock=self.clock
        )

    @asynccontextmanager
    async def fetch(self, row) -> AsyncIterator[AsyncIterator[bytes]]:
        self.opened.append(row.runner_filename)
        if self.error is not None:
            raise self.error

        async def chunks():
            yield self.on_runner[row.runner_filename]

        yield chunks()

    async def output(self, job: str, name: str, content: bytes) -> OutputFile:
        self.on_runner[name] = content
        return (await self.outputs.assign_all(job, "gpu-0", [OutputFile(name, "", "output")], fresh=True))[0]

    def row(self, file: OutputFile):
        return self.outputs.find(file.type, file.subfolder, file.filename)

    async def copied(self, file: OutputFile) -> bytes:
        async with asyncio.timeout(10):
            while self.row(file).content_hash is None:
                await asyncio.sleep(0.001)
        return b"".join([chunk async for chunk in await self.blobs.read(self.row(file).content_hash)])


@pytest.fixture
async def make(tmp_path):
    async with await Database.open(f"sqlite:///{tmp_path / 'gateway.db'}", synchronous="normal") as db:
        worlds = []

        def world(**settings) -> World:
            worlds.append(World(db, BlobStore(tmp_path / "blobs"), ArchiveConfig(**settings)))
            return worlds[-1]

        yield world
        for each in worlds:
            await each.archive.close()


async def test_an_ended_jobs_files_are_copied(make):
    world = make()
    world.archive.start()
    file = await world.output("job", "a_00001_.png", b"picture")
    world.archive.want("", [file])
    assert await world.copied(file) == b"picture"


async def test_a_file_is_fetched_once_for_all_who_want_it(make):
    world = make()
    file = await world.output("job", "a_00001_.png", b"picture")
    hashes = await asyncio.gather(*(world.archive.ensure(world.row(file)) for _ in range(5)))
    assert len(set(hashes)) == 1
    assert world.opened == ["a_00001_.png"]


async def test_waits_for_a_runner_that_is_down(make):
    world = make()
    world.archive.start()
    world.error = RunnerUnreachable("gpu-0", "refused")
    file = await world.output("job", "a_00001_.png", b"picture")
    world.archive.want("", [file])
    async with asyncio.timeout(10):
        while not world.opened:
            await asyncio.sleep(0.001)
    assert world.row(file).content_hash is None
    world.error = None
    async with asyncio.timeout(10):
        while world.row(file).content_hash is None:
            world.archive.runner_ready()
            await asyncio.sleep(0.001)


async def test_a_file_that_its_runner_no_longer_has_is_given_up(make):
    world = make()
    world.archive.start()
    world.error = RunnerMisanswered("gpu-0", "404", 404)
    gone = await world.output("job", "a_00001_.png", b"picture")
    world.archive.want("", [gone])
    async with asyncio.timeout(10):
        while not world.opened:
            await asyncio.sleep(0.001)
    world.error = None
    world.archive.runner_ready()
    other = await world.output("job", "a_00002_.png", b"other")
    world.archive.want("", [other])
    await world.copied(other)
    assert world.opened.count("a_00001_.png") == 1


async def test_what_was_not_copied_before_a_restart_is_copied_after_it(make):
    world = make()
    file = await world.output("job", "a_00001_.png", b"picture")
    world.archive.start()
    world.archive.runner_ready()
    assert await world.copied(file) == b"picture"


async def test_old_copies_go_and_their_names_stay_with_the_runner(make):
    world = make(max_age_days=1)
    old = await world.output("job", "a_00001_.png", b"old")
    await world.archive.ensure(world.row(old))
    old_hash = world.row(old).content_hash
    world.clock.ms += DAY_MS + 1
    young = await world.output("job", "a_00002_.png", b"young")
    await world.archive.ensure(world.row(young))
    assert await world.archive.sweep() == 1
    assert world.row(old).content_hash is None
    assert not await world.blobs.exists(old_hash)
    assert await world.blobs.exists(world.row(young).content_hash)


@pytest.mark.parametrize("jump_ms", [3_600_000, 400 * DAY_MS, -3_600_000])
async def test_a_clock_that_jumps_makes_no_copy_old(make, jump_ms):
    world = make(max_age_days=1)
    file = await world.output("job", "a_00001_.png", b"picture")
    await world.archive.ensure(world.row(file))
    world.clock.ms += DAY_MS - 1
    world.clock.set_forward_ms = jump_ms
    assert await world.archive.sweep() == 0
    world.clock.ms += abs(jump_ms) + 2
    assert await world.archive.sweep() == 1


async def test_the_oldest_copies_go_when_there_are_too_many_bytes(make):
    world = make(max_bytes=10)
    files = []
    for number in range(3):
        world.clock.ms += 1
        files.append(await world.output("job", f"a_0000{number}_.png", b"%d2345" % number))
        await world.archive.ensure(world.row(files[-1]))
    assert await world.archive.sweep() == 1
    assert [world.row(file).content_hash is not None for file in files] == [False, True, True]


async def test_content_that_something_else_has_too_is_kept(make):
    world = make(max_age_days=1)

    async def chunks():
        yield b"shared"

    upload = await world.uploads.save(chunks(), filename="in.png")
    file = await world.output("job", "a_00001_.png", b"shared")
    await world.archive.ensure(world.row(file))
    world.clock.ms += 2 * DAY_MS
    assert await world.archive.sweep() == 1
    assert await world.blobs.exists(upload.content_hash)


@pytest.mark.parametrize("enabled", [True, False])
async def test_old_temporary_uploads_go(make, enabled):
    world = make(enabled=enabled)

    async def sent(content):
        yield content

    async def upload(content, filename, **form):
        return await world.uploads.save(sent(content), filename=filename, **form)

    old = await upload(b"old", "old.png", type="temp", owner="anna")
    shared = await upload(b"shared", "shared.png", type="temp")
    await upload(b"shared", "kept.png")
    world.clock.ms += DAY_MS
    young = await upload(b"young", "young.png", type="temp")
    world.clock.ms += 1
    world.archive.start()
    async with asyncio.timeout(10):
        while [world.uploads.rows("temp", owner) for owner in ("anna", "")] != [[], [young]]:
            await asyncio.sleep(0.005)
        while await world.blobs.exists(old.content_hash):
            await asyncio.sleep(0.005)
    assert world.uploads.names("input") == ("kept.png",)
    assert await world.blobs.exists(shared.content_hash)


async def test_switched_off_it_copies_nothing_by_itself(make):
    world = make(enabled=False)
    world.archive.start()
    file = await world.output("job", "a_00001_.png", b"picture")
    world.archive.want("", [file])
    world.archive.runner_ready()
    assert world.opened == []


async def test_what_only_a_leaving_runner_has_is_rescued(make):
    world = make()
    here, gone = await world.output("a", "x_00001_.png", b"here"), await world.output("a", "y_00001_.png", b"gone")
    del world.on_runner["y_00001_.png"]

    @asynccontextmanager
    async def fetch(row):
        if row.runner_filename not in world.on_runner:
            raise RunnerMisanswered("gpu-0", "404", 404)
        async with world.fetch(row) as chunks:
            yield chunks

    world.archive._fetch_output = fetch
    assert await world.archive.rescue("gpu-1") == 0
    assert world.opened == []
    assert await world.archive.rescue("gpu-0") == 1
    assert await world.copied(here) == b"here"
    assert world.row(gone).content_hash is None


async def test_an_upload_is_removed_with_its_content_unless_another_has_it(make):
    world = make()
    rows = [await world.uploads.save(_once(b"same"), filename="x.png", subfolder=folder) for folder in ("a", "b")]
    again = await world.uploads.name_again(rows[0], subfolder="c", owner="")
    assert (again.filename, again.subfolder, again.content_hash) == ("x.png", "c", rows[0].content_hash)
    for row in (rows[0], again):
        await world.archive.remove_upload(row)
        assert world.uploads.find("input", row.subfolder, "x.png") is None
        assert await world.blobs.exists(row.content_hash)
    await world.archive.remove_upload(rows[1])
    assert not await world.blobs.exists(rows[1].content_hash)


async def test_a_content_that_is_uploaded_while_it_is_removed_stays(make, monkeypatch):
    world = make()
    row = await world.uploads.save(_once(b"same"), filename="x.png", subfolder="old")
    written = asyncio.get_running_loop().create_future()
    with monkeypatch.context() as storage:
        storage.setattr(world.db, "write", lambda *_: written)
        naming = asyncio.create_task(world.uploads.save(_once(b"same"), filename="x.png", subfolder="new"))
        async with asyncio.timeout(10):
            while not world.uploads._unnamed:
                await asyncio.sleep(0.001)
    await world.archive.remove_upload(row)
    assert await world.blobs.exists(row.content_hash)
    written.set_result(None)
    await world.archive.remove_upload(await naming)
    assert not await world.blobs.exists(row.content_hash)


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
