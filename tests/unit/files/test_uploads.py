import asyncio
from collections.abc import AsyncIterator

import pytest
from blake3 import blake3

from gateway.files.uploads import UploadRefused, Uploads
from gateway.storage.blobs import BlobStore
from gateway.storage.database import Database, DatabaseUnavailable
from gateway.storage.files import load_uploads


@pytest.fixture
async def db(tmp_path):
    async with await Database.open(f"sqlite:///{tmp_path}/gateway.db", synchronous="normal") as database:
        yield database


@pytest.fixture
def blobs(tmp_path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


@pytest.fixture
def uploads(db, blobs) -> Uploads:
    return Uploads(db, blobs)


async def stream(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def save(uploads: Uploads, content: bytes, filename: str = "x.png", **form) -> str:
    """Upload, and say the answer's names as an input value would."""
    row = await uploads.save(stream(content), filename=filename, **form)
    return "/".join(filter(None, (row.subfolder, row.filename))) + f" [{row.type}]"


async def content_of(uploads: Uploads, name: str, **where) -> bytes:
    row = uploads.find(where.get("type", "input"), where.get("subfolder", ""), name, where.get("owner", ""))
    return b"".join([chunk async for chunk in await uploads.open(row)])


async def test_names_are_those_of_comfyui(uploads):
    assert await save(uploads, b"one") == "x.png [input]"
    assert await save(uploads, b"one") == "x.png [input]"
    assert await save(uploads, b"two") == "x (1).png [input]"
    assert await save(uploads, b"three") == "x (2).png [input]"
    assert await save(uploads, b"two") == "x (1).png [input]"
    assert await content_of(uploads, "x (1).png") == b"two"


@pytest.mark.parametrize("overwrite", ["true", "1", True])
async def test_overwriting_replaces(uploads, overwrite):
    await save(uploads, b"one")
    assert await save(uploads, b"two", overwrite=overwrite) == "x.png [input]"
    assert await content_of(uploads, "x.png") == b"two"


@pytest.mark.parametrize("overwrite", ["false", "yes", "True", "", None, False])
async def test_anything_else_does_not_overwrite(uploads, overwrite):
    await save(uploads, b"one")
    assert await save(uploads, b"two", overwrite=overwrite) == "x (1).png [input]"


async def test_types_and_subfolders_are_apart(uploads):
    assert await save(uploads, b"one") == "x.png [input]"
    assert await save(uploads, b"two", type="temp") == "x.png [temp]"
    assert await save(uploads, b"three", type="output") == "x.png [output]"
    assert await save(uploads, b"four", subfolder="pasted") == "pasted/x.png [input]"
    assert await save(uploads, b"five", subfolder="./pasted/") == "pasted/x (1).png [input]"
    assert await save(uploads, b"six", filename="deep/x.png", subfolder="pasted") == "pasted/deep/x.png [input]"
    assert uploads.find("input", "pasted/", "x.png") is not None
    assert uploads.find("temp", "pasted", "x.png") is None


async def test_owners_are_apart(uploads):
    assert await save(uploads, b"one", owner="anna") == "x.png [input]"
    assert await save(uploads, b"two", owner="bert") == "x.png [input]"
    assert await content_of(uploads, "x.png", owner="anna") == b"one"
    assert uploads.find("input", "", "x.png", "") is None
    assert not uploads.is_taken("input", "", "x.png")
    assert sorted(uploads.owners()) == ["anna", "bert"]
    await uploads.delete(uploads.find("input", "", "x.png", "anna"))
    assert not uploads.is_taken("input", "", "x.png", "anna")
    assert uploads.is_taken("input", "", "x.png", "bert")
    assert uploads.owners() == {"bert"}
    assert [row.owner for row in uploads.rows_in("input", "", "bert")] == ["bert"]
    assert uploads.rows_in("input", "", "anna") == uploads.rows_in("input", "sub", "bert") == []


async def test_listings(uploads):
    for name in ("b.png", "a.png", "sub/c.png"):
        await save(uploads, b"x", name)
    assert uploads.names("input") == ("a.png", "b.png")
    assert uploads.names("temp") == ()
    assert sorted(row.filename for row in uploads.rows("input")) == ["a.png", "b.png", "c.png"]


@pytest.mark.parametrize(
    ("status", "form"),
    [
        (400, {"filename": ""}),
        (400, {"filename": "../x.png"}),
        (400, {"filename": "/etc/passwd"}),
        (400, {"filename": "x.png", "subfolder": "../.."}),
        (400, {"filename": "x.png", "subfolder": "a/../../b"}),
        (400, {"filename": ".", "subfolder": "a"}),
        (413, {"filename": "x.png", "max_bytes": 2}),
        (500, {"filename": "x.png", "type": "bogus"}),
        (500, {"filename": "x.png", "type": ""}),
    ],
)
async def test_refusals(uploads, status, form):
    with pytest.raises(UploadRefused) as refused:
        await uploads.save(stream(b"one"), **form)
    assert refused.value.status == status
    assert uploads.rows("input") == []


async def test_reserved_names_are_not_given(db, blobs):
    uploads = Uploads(db, blobs, reserved=lambda *name: name == ("output", "", "x.png", ""))
    assert await save(uploads, b"one", type="output") == "x (1).png [output]"
    assert await save(uploads, b"one") == "x.png [input]"


async def test_uploads_at_the_same_time_do_not_share_a_name(uploads):
    contents = [str(n % 10).encode() for n in range(30)]
    answers = await asyncio.gather(*(save(uploads, content) for content in contents))
    assert sorted(set(answers)) == sorted(["x.png [input]", *(f"x ({n}).png [input]" for n in range(1, 10))])
    for content, answer in zip(contents, answers, strict=True):
        assert await content_of(uploads, answer.removesuffix(" [input]")) == content


async def test_everything_is_in_the_database_when_told(uploads, db, blobs):
    await save(uploads, b"one")
    await save(uploads, b"two")
    await save(uploads, b"three", owner="anna", subfolder="s")
    assert len(await load_uploads(db)) == 3
    again = Uploads(db, blobs)
    await again.load()
    assert await content_of(again, "x (1).png") == b"two"
    assert again.rows("input", "anna") == uploads.rows("input", "anna")
    assert await save(again, b"new") == "x (2).png [input]"
    await again.delete(again.find("input", "", "x.png"))
    assert [row.filename for row in await load_uploads(db, owner="")] == ["x (1).png", "x (2).png"]


async def test_a_change_keeps_when_the_file_was_made(db, blobs):
    class Turned:
        now = 100

        def wall_ms(self) -> int:
            return self.now

    clock = Turned()
    uploads = Uploads(db, blobs, clock=clock)
    await save(uploads, b"one")
    clock.now = 200
    await save(uploads, b"two", overwrite="true")
    row = uploads.find("input", "", "x.png")
    assert (row.created_at, row.modified_at) == (100, 200)


async def test_what_was_written_over_is_not_forgotten_for_its_older_content(uploads):
    await save(uploads, b"one")
    older = uploads.find("input", "", "x.png")
    await save(uploads, b"two", overwrite="true")
    newer = uploads.find("input", "", "x.png")
    await uploads.delete(older)
    assert uploads.find("input", "", "x.png") is newer


async def test_a_caller_that_goes_away_leaves_index_and_database_agreeing(uploads, db, monkeypatch):
    writing, write = asyncio.Event(), db.write
    monkeypatch.setattr(db, "write", lambda *operations: writing.set() or write(*operations))
    saving = asyncio.create_task(save(uploads, b"one"))
    await writing.wait()
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    await asyncio.wait(uploads._saving)
    assert [row.filename for row in await load_uploads(db)] == ["x.png"]
    assert uploads.names("input") == ("x.png",)


async def test_what_cannot_be_kept_is_not_there(uploads, db, monkeypatch):
    with monkeypatch.context() as patch:
        failed = asyncio.get_running_loop().create_future()
        failed.set_exception(DatabaseUnavailable("full"))
        patch.setattr(db, "write", lambda *_: failed)
        with pytest.raises(DatabaseUnavailable):
            await save(uploads, b"one")
    assert uploads.find("input", "", "x.png") is None
    assert await save(uploads, b"two") == "x.png [input]"


class TestSameAs:
    """A mask is kept as another picture than was sent; the name goes by what was sent, as in ComfyUI."""

    async def test_what_is_there_counts_by_the_sent_content(self, uploads):
        sent = blake3(b"sent").hexdigest()
        assert await save(uploads, b"made", same_as=sent) == "x.png [input]"
        assert await save(uploads, b"made", same_as=sent) == "x (1).png [input]"
        assert await save(uploads, b"made again", overwrite="true", same_as=sent) == "x.png [input]"
        assert await content_of(uploads, "x.png") == b"made again"

    async def test_the_name_can_be_asked_for_before(self, uploads):
        sent = blake3(b"sent").hexdigest()
        assert uploads.name_for(sent, filename="x.png") == ("x.png", False)
        await save(uploads, b"sent")
        assert uploads.name_for(sent, filename="x.png") == ("x.png", True)
        assert uploads.name_for(blake3(b"other").hexdigest(), filename="x.png") == ("x (1).png", False)
        assert uploads.name_for(sent, filename="x.png", overwrite="1") == ("x.png", False)
        assert uploads.name_for(sent, filename="x.png", subfolder="sub/") == ("x.png", False)

    @pytest.mark.parametrize(
        ("form", "status"), [({"type": "bogus"}, 500), ({"subfolder": "../.."}, 400), ({"subfolder": "/etc"}, 400)]
    )
    async def test_refused_as_an_upload(self, uploads, form, status):
        with pytest.raises(UploadRefused) as refused:
            uploads.name_for("", filename="x.png", **form)
        assert refused.value.status == status
