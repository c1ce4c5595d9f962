"""What owners have stored, and may: the sums are right however files come, change and go, and through a restart."""

import asyncio

import pytest

from gateway.clock import Clock
from gateway.comfyui.outputs import OutputFile
from gateway.config import ArchiveConfig
from gateway.files.archive import Archive
from gateway.files.outputs import OutputNames
from gateway.files.stored import Stored
from gateway.files.uploads import StorageFull, Uploads
from gateway.storage.blobs import BlobStore
from gateway.storage.database import Database, DatabaseUnavailable

MOST = 100


class World:
    """The files of all owners, each of whom may store `most` bytes. A runner's output has as many as its name says."""

    def __init__(self, db, folder, most=MOST):
        self.db, self.most = db, most
        self.blobs = BlobStore(folder)
        self.stored = Stored(lambda _owner: self.most)
        self.uploads = Uploads(db, self.blobs, stored=self.stored)
        self.outputs = OutputNames(db, stored=self.stored)
        self.archive = Archive(
            self.outputs,
            self.uploads,
            self.blobs,
            fetch_output=self.fetch,
            settings=ArchiveConfig(),
            clock=Clock(),
            stored=self.stored,
        )

    def fetch(self, row):
        return _Content(row.filename[:1].encode() * int(row.filename[1:].split(".")[0]))

    async def upload(self, size, name="x.png", owner="anna", letter=b"x", **form):
        async def chunks():
            yield letter * size

        return await self.uploads.save(chunks(), filename=name, owner=owner, **form)

    async def output(self, name, owner="anna", fresh=True):
        """Made by a job, and copied."""
        files = [OutputFile(name, "", "output")]
        (public,) = await self.outputs.assign_all(name, "gpu-0", files, fresh=fresh, owner=owner)
        row = self.outputs.find("output", "", public.filename, owner)
        await self.archive.ensure(row)
        return public

    def has_copy(self, file, owner="anna"):
        return self.outputs.find("output", "", file.filename, owner).content_hash is not None

    async def settled(self):
        async with asyncio.timeout(10):
            while self.archive._trims:
                await asyncio.sleep(0.001)

    def summed(self, owner):
        """What the sum has to be, from the rows."""
        uploads = [row for kind in ("input", "temp", "output") for row in self.uploads.rows(kind, owner)]
        copies = [row for row in self.outputs.rows() if row.owner == owner and row.content_hash is not None]
        return sum(row.size for row in [*uploads, *copies])


class _Content:
    def __init__(self, content):
        self.content = content

    async def __aenter__(self):
        async def chunks():
            yield self.content

        return chunks()

    async def __aexit__(self, *_):
        return None


@pytest.fixture
async def db(tmp_path):
    async with await Database.open(f"sqlite:///{tmp_path}/gateway.db", synchronous="normal") as opened:
        yield opened


@pytest.fixture
async def world(db, tmp_path):
    made = World(db, tmp_path / "blobs")
    made.archive.start()
    yield made
    await made.archive.close()


class TestUploads:
    async def test_one_too_many_is_refused_and_leaves_nothing(self, world):
        await world.upload(60)
        with pytest.raises(StorageFull) as caught:
            await world.upload(41, "y.png", letter=b"y")
        assert (caught.value.status, caught.value.stored, caught.value.most, caught.value.size) == (507, 60, 100, 41)
        assert world.uploads.find("input", "", "y.png", "anna") is None
        assert [path for path in world.blobs._folder.rglob("*") if path.is_file() and path.stat().st_size == 41] == []
        await world.upload(40, "y.png")
        assert world.stored.of("anna") == 100

    async def test_one_owners_do_not_count_for_another(self, world):
        await world.upload(100)
        await world.upload(100, owner="bert")
        await world.upload(100, owner="")

    async def test_what_is_there_already_takes_nothing(self, world):
        first = await world.upload(100)
        assert await world.upload(100) == first

    async def test_overwriting_counts_the_difference_and_drops_the_old_content(self, world):
        old = await world.upload(90)
        await world.upload(100, overwrite=True)
        assert not await world.blobs.exists(old.content_hash)
        with pytest.raises(StorageFull):
            await world.upload(101, overwrite=True)
        await world.upload(10, overwrite=True)
        assert world.stored.of("anna") == 10

    async def test_overwritten_content_that_another_name_has_stays(self, world):
        old = await world.upload(40)
        await world.upload(40, owner="bert")
        await world.upload(30, overwrite=True)
        assert await world.blobs.exists(old.content_hash)

    async def test_of_many_at_once_as_many_as_fit_are_taken(self, world):
        tried = (world.upload(30, f"{number}.png", subfolder=str(number)) for number in range(8))
        done = await asyncio.gather(*tried, return_exceptions=True)
        assert sum(isinstance(each, StorageFull) for each in done) == 5
        assert world.stored.of("anna") == world.summed("anna") == 90

    async def test_what_is_removed_gives_its_room_back(self, world):
        row = await world.upload(100)
        await world.archive.remove_upload(row)
        await world.upload(100, "y.png")

    async def test_one_that_could_not_be_written_takes_nothing(self, world, monkeypatch):
        async def fails(*_):
            raise DatabaseUnavailable("the disk is full")

        with monkeypatch.context() as broken, pytest.raises(DatabaseUnavailable):
            broken.setattr(world.db, "write", fails)
            await world.upload(100)
        assert world.stored.of("anna") == 0
        await world.upload(100)

    async def test_the_same_under_another_name_counts_again(self, world):
        row = await world.upload(60)
        with pytest.raises(StorageFull):
            await world.uploads.name_again(row, subfolder="again", owner="anna")
        assert await world.blobs.exists(row.content_hash)


class TestCopies:
    async def test_the_oldest_make_room(self, world):
        files = [await world.output(name) for name in ("a40.png", "b40.png", "c40.png")]
        await world.settled()
        assert [world.has_copy(file) for file in files] == [False, True, True]
        assert world.stored.of("anna") == world.summed("anna") == 80
        assert world.archive.dropped["quota"] == 1

    async def test_the_newest_stays_even_where_it_is_too_much(self, world):
        first = await world.output("a40.png")
        second = await world.output("b500.png")
        await world.settled()
        assert [world.has_copy(first), world.has_copy(second)] == [False, True]
        third = await world.output("c40.png")
        await world.settled()
        assert [world.has_copy(second), world.has_copy(third)] == [False, True]

    async def test_one_that_is_copied_again_is_the_newest(self, world):
        files = [await world.output(name) for name in ("a40.png", "b40.png", "c40.png")]
        await world.settled()
        row = world.outputs.find("output", "", files[0].filename, "anna")
        await world.archive.ensure(row)
        await world.settled()
        assert [world.has_copy(file) for file in files] == [True, False, True]

    async def test_uploads_take_their_place(self, world):
        files = [await world.output(name) for name in ("a40.png", "b40.png")]
        await world.upload(60)
        await world.settled()
        assert [world.has_copy(file) for file in files] == [False, True]
        await world.upload(40, "y.png")
        await world.settled()
        assert world.has_copy(files[1])

    async def test_an_owners_own_only(self, world):
        his = await world.output("a90.png", owner="bert")
        await world.output("b90.png")
        await world.output("c90.png")
        await world.settled()
        assert world.has_copy(his, "bert")

    async def test_a_file_of_two_owners_counts_for_both_and_stays_while_one_has_it(self, world):
        hers = await world.output("a60.png")
        (his,) = await world.outputs.assign_all(
            "later", "gpu-0", [OutputFile("a60.png", "", "output")], fresh=False, owner="bert"
        )
        content = world.outputs.find("output", "", hers.filename, "anna").content_hash
        assert (world.stored.of("anna"), world.stored.of("bert")) == (60, 60)
        await world.output("b60.png")
        await world.settled()
        assert [world.has_copy(hers), world.has_copy(his, "bert")] == [False, True]
        assert await world.blobs.exists(content)

    async def test_what_its_runner_has_written_over_goes(self, world):
        name = "a60"  # no number: the runner writes over it
        await world.output(f"{name}.png")
        content = world.outputs.find("output", "", f"{name}.png", "anna").content_hash
        await world.outputs.assign_all(
            "later", "gpu-0", [OutputFile(f"{name}.png", "", "output")], fresh=True, owner="anna"
        )
        assert world.stored.of("anna") == 0
        async with asyncio.timeout(10):
            while await world.blobs.exists(content):
                await asyncio.sleep(0.001)

    async def test_without_a_limit_nothing_goes(self, world):
        world.most = None
        for name in ("a400.png", "b400.png", "c400.png"):
            await world.output(name)
        await world.upload(10_000)
        await world.settled()
        assert world.stored.of("anna") == 11_200
        assert world.archive.dropped["quota"] == 0


async def test_the_sums_are_there_after_a_restart_and_a_lower_limit_counts(world, db, tmp_path):
    await world.upload(10)
    for name in ("a30.png", "b30.png", "c30.png"):
        await world.output(name)
    await world.settled()
    await world.archive.close()
    again = World(db, tmp_path / "blobs", most=70)
    await again.uploads.load()
    await again.outputs.load()
    assert again.stored.of("anna") == again.summed("anna") == 100
    again.archive.start()
    try:
        async with asyncio.timeout(10):
            while again.stored.of("anna") > 70:
                await asyncio.sleep(0.001)
        names = {row.filename for row in again.outputs.rows() if row.content_hash is not None}
        assert len(names) == 2
    finally:
        await again.archive.close()
