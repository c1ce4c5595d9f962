import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from gateway.clock import Clock
from gateway.comfyui.outputs import OutputFile
from gateway.config import ArchiveConfig
from gateway.files.archive import Archive
from gateway.files.outputs import OutputNames
from gateway.files.staging import Staging, StagingError
from gateway.files.uploads import Uploads
from gateway.runners.errors import RunnerUnreachable
from gateway.storage.blobs import BlobStore
from gateway.storage.database import Database


class Runner:
    """Takes uploads as ComfyUI does with overwrite, and remembers each of them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.files: dict[str, bytes] = {}
        self.taken: list[str] = []
        self.error: Exception | None = None
        self.status = 200
        self.ready = asyncio.Event()
        self.ready.set()

    async def upload(self, file, *, filename, subfolder, type, overwrite=True):  # noqa: A002
        assert overwrite
        await self.ready.wait()
        if self.error is not None:
            raise self.error
        path = "/".join(filter(None, (type, subfolder, filename)))
        self.taken.append(path)
        self.files[path] = b"".join([chunk async for chunk in file])
        return SimpleNamespace(status=self.status)

    def read(self, value: str) -> bytes | None:
        """What a node of this runner reads for an input value."""
        for type_ in ("input", "output", "temp"):
            if value.endswith(f" [{type_}]"):
                return self.files.get(f"{type_}/{value.removesuffix(f' [{type_}]')}")
        return self.files.get(f"input/{value}")


class World:
    """Stores, and runners that have made outputs."""

    def __init__(self, db: Database, blobs: BlobStore) -> None:
        self.uploads = Uploads(db, blobs)
        self.outputs = OutputNames(db)
        self.blobs = blobs
        self.east, self.west = Runner("east"), Runner("west")
        self.fetched: list[str] = []
        self.archive = Archive(
            self.outputs, self.uploads, blobs, fetch_output=self.fetch, settings=ArchiveConfig(), clock=Clock()
        )
        self.staging = Staging(
            self.uploads,
            self.outputs,
            blobs,
            content_of=self.archive.ensure,
        )

    @asynccontextmanager
    async def fetch(self, output):
        runner = {"east": self.east, "west": self.west}[output.runner]
        self.fetched.append(output.filename)
        if runner.error is not None:
            raise runner.error
        path = "/".join(filter(None, (output.type, output.runner_subfolder, output.runner_filename)))
        yield stream(runner.files[path])

    async def upload(self, content: bytes, filename: str, **form) -> None:
        await self.uploads.save(stream(content), filename=filename, overwrite=True, **form)

    async def make(self, runner: Runner, job: str, name: str, content: bytes, owner: str = "") -> str:
        """A job writes an output; returns its public name as an input value."""
        runner.files[f"output/{name}"] = content
        file = OutputFile(name, "", "output")
        (public,) = await self.outputs.assign_all(job, runner.name, [file], fresh=True, owner=owner)
        return f"{public.filename} [output]"

    async def stage(self, value, runner: Runner | None = None, boot: str = "1", owner: str = ""):
        return await self.staging.stage(prompt_with(value), runner or self.east, boot, owner)


async def stream(content: bytes) -> AsyncIterator[bytes]:
    yield content


def prompt_with(value) -> dict:
    return {"1": {"class_type": "LoadImage", "inputs": {"image": value, "seed": 1, "model": ["2", 0]}}}


def value_in(staged) -> str:
    return staged.prompt["1"]["inputs"]["image"]


@pytest.fixture
async def world(tmp_path):
    async with await Database.open(f"sqlite:///{tmp_path}/gateway.db", synchronous="normal") as db:
        world = World(db, BlobStore(tmp_path / "blobs"))
        yield world
        await world.staging.close()


@pytest.mark.parametrize(
    ("value", "form", "path"),
    [
        ("a.png", {}, "input/a.png"),
        ("a.png [input]", {}, "input/a.png"),
        ("sub/a.png", {"subfolder": "sub"}, "input/sub/a.png"),
        ("a.png [temp]", {"type": "temp"}, "temp/a.png"),
    ],
)
async def test_an_upload_is_brought_under_its_name(world, value, form, path):
    await world.upload(b"one", "a.png", **form)
    staged = await world.stage(value)
    assert (value_in(staged), staged.replaced) == (value, {})
    assert world.east.files == {path: b"one"}


async def test_an_upload_over_an_output_is_what_its_name_means_until_a_job_writes_it_again(world):
    await world.make(world.west, "job", "a.png", b"made")
    await world.upload(b"sent", "a.png", type="output")
    staged = await world.stage("a.png [output]", world.west)
    assert world.west.files[f"input/{value_in(staged)}"] == b"sent"
    world.outputs._clock = SimpleNamespace(wall_ms=lambda: 10**15)
    await world.make(world.west, "later", "a.png", b"made anew")
    staged = await world.stage("a.png [output]", world.west)
    assert value_in(staged) == "a.png [output]"
    assert world.west.files["output/a.png"] == b"made anew"


async def test_references_in_lists_and_strings_that_are_no_files(world):
    await world.upload(b"one", "a.png")
    staged = await world.stage(["a.png", "a photo of a cat", "unknown.png", 5])
    assert (value_in(staged), staged.replaced) == (["a.png", "a photo of a cat", "unknown.png", 5], {})
    assert world.east.taken == ["input/a.png"]


async def test_a_content_is_brought_once_per_life_of_a_runner(world):
    await world.upload(b"one", "a.png")
    for runner, boot in ((world.east, "1"), (world.east, "1"), (world.west, "1"), (world.east, "2"), (world.east, "2")):
        await world.stage("a.png", runner, boot)
    assert (len(world.east.taken), len(world.west.taken)) == (2, 1)


async def test_jobs_at_the_same_time_share_a_transfer_that_outlives_each(world):
    await world.upload(b"one", "a.png")
    world.east.ready.clear()
    jobs = [asyncio.create_task(world.stage("a.png")) for _ in range(5)]
    await asyncio.sleep(0)
    jobs[0].cancel()
    await asyncio.wait(jobs[:1])
    world.east.ready.set()
    await asyncio.gather(*jobs[1:])
    assert world.east.taken == ["input/a.png"]


async def test_a_changed_upload_does_not_pull_the_file_from_under_a_waiting_job(world):
    await world.upload(b"one", "a.png")
    first = await world.stage("a.png")
    await world.upload(b"two", "a.png")
    second = await world.stage("a.png")
    assert [world.east.read(value_in(staged)) for staged in (first, second)] == [b"one", b"two"]
    assert second.replaced == {("1", "image"): "a.png"}
    assert value_in(await world.stage("a.png", boot="2")) == "a.png"


async def test_owners_files_of_one_name_are_apart_on_a_runner(world):
    await world.upload(b"anna's", "a.png", owner="anna")
    await world.upload(b"bert's", "a.png", owner="bert")
    staged = [await world.stage("a.png", owner=owner) for owner in ("anna", "bert", "cleo")]
    assert [world.east.read(value_in(each)) for each in staged] == [b"anna's", b"bert's", None]


async def test_an_upload_to_the_output_folder_does_not_write_over_the_runners_own(world):
    await world.make(world.east, "1", "a_00001_.png", b"the runner's")
    await world.upload(b"the client's", "b_00001_.png", type="output")
    world.east.files["output/b_00001_.png"] = b"the runner's"
    staged = await world.stage("b_00001_.png [output]")
    assert world.east.read(value_in(staged)) == b"the client's"
    assert world.east.files["output/b_00001_.png"] == b"the runner's"


async def test_an_output_on_its_own_runner_is_read_there(world):
    first = await world.make(world.east, "1", "a_00001_.png", b"one")
    second = await world.make(world.west, "2", "a_00001_.png", b"two")
    assert second == "a_00002_.png [output]"
    staged = await world.stage(first, world.east)
    assert (value_in(staged), staged.replaced) == (first, {})
    staged = await world.stage(second, world.west)
    assert value_in(staged) == "a_00001_.png [output]"
    assert staged.replaced == {("1", "image"): second}
    assert world.fetched == world.east.taken == world.west.taken == []


async def test_an_output_of_another_runner_is_copied(world):
    value = await world.make(world.west, "1", "a_00001_.png", b"west's")
    world.east.files["output/a_00001_.png"] = b"east's"
    staged = await asyncio.gather(*(world.stage(value) for _ in range(3)))
    assert world.east.read(value_in(staged[0])) == b"west's"
    assert value_in(staged[0]).startswith("gateway/")
    assert staged[0].replaced == {("1", "image"): value}
    assert (len(world.east.taken), world.fetched) == (1, ["a_00001_.png"])
    world.west.error = RunnerUnreachable("west", "gone")
    await world.stage(value, boot="2")  # from the copy that was kept
    assert (len(world.east.taken), len(world.fetched)) == (2, 1)


async def test_a_lost_output_is_not_taken_for_what_the_runner_has_now(world):
    first = await world.make(world.east, "1", "a_00001_.png", b"one")
    second = await world.make(world.east, "2", "a_00001_.png", b"two")
    assert world.east.read(value_in(await world.stage(first))) is None
    assert world.east.read(value_in(await world.stage(second))) == b"two"


async def test_a_runners_own_name_of_an_output_is_no_way_to_it(world):
    await world.make(world.west, "1", "a_00001_.png", b"one")
    await world.make(world.east, "2", "a_00001_.png", b"two")
    await world.make(world.east, "3", "a_00002_.png", b"three")
    assert world.east.read(value_in(await world.stage("a_00002_.png [output]"))) == b"two"
    assert world.east.read(value_in(await world.stage("a_00003_.png [output]"))) == b"three"
    world.east.files["output/b_00001_.png"] = b"nobody knows it"
    assert value_in(await world.stage("b_00001_.png [output]")) == "b_00001_.png [output]"


async def test_another_owners_output_is_not_to_be_had(world):
    value = await world.make(world.west, "1", "a_00001_.png", b"anna's", "anna")
    for runner in (world.east, world.west):
        for owner in ("bert", ""):
            assert runner.read(value_in(await world.stage(value, runner, owner=owner))) is None
    assert world.east.read(value_in(await world.stage(value, owner="anna"))) == b"anna's"


async def test_two_owners_outputs_of_one_name_are_apart(world):
    names = [
        await world.make(world.west, "1", "a_00001_.png", b"anna's", "anna"),
        await world.make(world.east, "2", "a_00001_.png", b"bert's", "bert"),
    ]
    assert names == ["a_00001_.png [output]"] * 2
    for runner in (world.east, world.west):
        for owner in ("anna", "bert"):
            staged = await world.stage(names[0], runner, owner=owner)
            assert runner.read(value_in(staged)) == f"{owner}'s".encode()


async def test_what_only_the_runner_knows_is_nobodys_who_has_a_token(world):
    world.east.files["output/a.png"] = world.east.files["temp/a.png"] = b"another's, not reported yet"
    for value in ("a.png [output]", "a.png [temp]"):
        assert world.east.read(value_in(await world.stage(value, owner="anna"))) is None
        assert value_in(await world.stage(value)) == value


async def test_uploads_from_the_time_before_tokens_are_no_other_owners(world):
    await world.upload(b"anybody's", "a.png")
    await world.upload(b"anybody's", "a photo")
    await world.stage("a.png")
    assert world.east.read(value_in(await world.stage("a.png", owner="anna"))) is None
    assert value_in(await world.stage("a photo", owner="anna")) == "a photo", "a text that is no name"


async def test_a_runner_that_fails_is_named_and_tried_again(world):
    await world.upload(b"one", "a.png")
    world.east.error = RunnerUnreachable("east", "refused")
    with pytest.raises(StagingError, match=r"a\.png .* runner east: .*refused") as failed:
        await world.stage("a.png")
    assert (failed.value.file, failed.value.runner, failed.value.runner_failed) == ("a.png", "east", True)
    world.east.error, world.east.status = None, 413
    with pytest.raises(StagingError, match="413"):
        await world.stage("a.png")
    world.east.status = 200
    await world.stage("a.png")


async def test_a_source_that_fails_is_not_the_runners_fault(world):
    value = await world.make(world.west, "1", "a_00001_.png", b"one")
    world.west.error = RunnerUnreachable("west", "gone")
    with pytest.raises(StagingError, match=r"a_00001_\.png \[output\].*gone") as failed:
        await world.stage(value)
    assert not failed.value.runner_failed
    world.west.error = None
    await world.stage(value)


async def test_lost_bytes_are_told(world):
    await world.upload(b"one", "a.png")
    await world.blobs.delete(world.uploads.find("input", "", "a.png").content_hash)
    with pytest.raises(StagingError, match=r"a\.png") as failed:
        await world.stage("a.png")
    assert not failed.value.runner_failed
