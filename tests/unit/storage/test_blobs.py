import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import obstore
import pytest
from blake3 import blake3

from gateway.storage.blobs import INCOMING, PART, BlobStore
from gateway.storage.errors import BlobMissing, BlobTooLarge, StorageError

CONTENT = bytes(range(256)) * 1000


@pytest.fixture(params=["folder", "object store"])
def blobs(request, tmp_path) -> BlobStore:
    return BlobStore(tmp_path / "blobs" if request.param == "folder" else "memory:///")


async def stream(content: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def content_of(blobs: BlobStore, hash_: str, *where) -> bytes:
    return b"".join([chunk async for chunk in await blobs.read(hash_, *where)])


def files_in(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("content", [b"", b"x", CONTENT, CONTENT * (2 * PART // len(CONTENT) + 1)])
async def test_a_content_comes_back_by_its_hash(blobs, content):
    blob = await blobs.put(stream(content, 100_000))
    assert (blob.hash, blob.size) == (blake3(content).hexdigest(), len(content))
    assert await content_of(blobs, blob.hash) == content
    assert await blobs.size(blob.hash) == len(content)
    assert await blobs.exists(blob.hash)


@pytest.mark.parametrize("where", [(0, 10), (10, 20), (255_990,), (255_990, 999_999), (0, 0), (20, 10), (999_999,)])
async def test_ranges_are_those_of_a_slice(blobs, where):
    blob = await blobs.put(stream(CONTENT))
    assert (
        await content_of(blobs, blob.hash, *where) == CONTENT[slice(*where) if len(where) > 1 else slice(*where, None)]
    )


async def test_contents_are_kept_once_at_their_address(tmp_path):
    blobs = BlobStore(tmp_path)
    first, second = await asyncio.gather(blobs.put(stream(CONTENT)), blobs.put(stream(CONTENT)))
    assert first == second
    assert files_in(tmp_path) == [f"{first.hash[:2]}/{first.hash[2:4]}/{first.hash}"]


async def test_what_is_missing_says_so_before_the_first_byte(blobs):
    unknown = blake3(b"unknown").hexdigest()
    assert not await blobs.exists(unknown)
    for where in ((), (1, 2)):
        with pytest.raises(BlobMissing):
            await blobs.read(unknown, *where)
    with pytest.raises(BlobMissing):
        await blobs.size(unknown)
    await blobs.delete(unknown)


@pytest.mark.parametrize("name", ["", "../secret", "A" * 64, "a" * 63])
async def test_only_hashes_are_addresses(blobs, name):
    with pytest.raises(BlobMissing):
        await blobs.read(name)


async def test_delete(blobs):
    blob = await blobs.put(stream(CONTENT))
    await blobs.delete(blob.hash)
    assert not await blobs.exists(blob.hash)


async def test_too_large_keeps_nothing(tmp_path):
    blobs = BlobStore(tmp_path)
    with pytest.raises(BlobTooLarge):
        await blobs.put(stream(CONTENT), max_bytes=len(CONTENT) - 1)
    assert files_in(tmp_path) == []
    await blobs.put(stream(CONTENT), max_bytes=len(CONTENT))


async def test_a_stream_that_breaks_keeps_nothing(tmp_path):
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * (2 * PART)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await BlobStore(tmp_path).put(broken())
    assert [name for name in files_in(tmp_path) if not name.startswith(INCOMING)] == []


async def test_a_cancelled_put_keeps_nothing(tmp_path):
    started, never = asyncio.Event(), asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        yield b"x"
        started.set()
        await never.wait()

    put = asyncio.create_task(BlobStore(tmp_path).put(stalled()))
    await started.wait()
    put.cancel()
    with pytest.raises(asyncio.CancelledError):
        await put
    assert files_in(tmp_path) == []


async def test_clean_removes_what_a_crash_left_and_nothing_else(tmp_path):
    blobs = BlobStore(tmp_path)
    blob = await blobs.put(stream(CONTENT))
    (tmp_path / INCOMING).mkdir(exist_ok=True)
    (tmp_path / INCOMING / "0123#1").write_bytes(b"half")
    await blobs.clean()
    assert len(files_in(tmp_path)) == 1
    assert await content_of(blobs, blob.hash) == CONTENT
    await blobs.put(stream(b"after"))


async def test_a_shared_store_keeps_what_may_still_arrive(monkeypatch):
    blobs = BlobStore("memory:///")
    await obstore.put_async(blobs._store, f"{INCOMING}/young", b"x")
    await blobs.clean()
    assert await obstore.get_async(blobs._store, f"{INCOMING}/young")
    monkeypatch.setattr("gateway.storage.blobs.STALE", timedelta(days=-1))
    await blobs.clean()
    with pytest.raises(FileNotFoundError):
        await obstore.get_async(blobs._store, f"{INCOMING}/young")


async def test_a_store_that_fails_is_told(tmp_path):
    blobs = BlobStore(tmp_path)
    (tmp_path / INCOMING).write_bytes(b"in the way")
    with pytest.raises(StorageError):
        await blobs.put(stream(CONTENT))


def test_a_store_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        BlobStore(tmp_path / "file" / "blobs")
    with pytest.raises(StorageError):
        BlobStore("nonsense://x")


async def test_what_is_not_wanted_is_discarded(blobs):
    blob = await blobs.put(stream(CONTENT))
    await blobs.discard(blob.hash, lambda: True)
    assert await blobs.exists(blob.hash)
    await blobs.discard(blob.hash, lambda: False)
    assert not await blobs.exists(blob.hash)


class Hesitating(BlobStore):
    """Stops after it has looked whether a content is there."""

    def __init__(self, folder) -> None:
        super().__init__(folder)
        self.looked, self.go_on = asyncio.Event(), asyncio.Event()

    async def _size(self, hash_: str) -> int | None:
        size = await super()._size(hash_)
        self.looked.set()
        await self.go_on.wait()
        return size


async def test_a_content_that_is_put_again_while_it_is_discarded_stays(tmp_path):
    blob = await BlobStore(tmp_path).put(stream(CONTENT))
    store = Hesitating(tmp_path)
    wanted = set()

    async def put_again() -> None:
        wanted.add((await store.put(stream(CONTENT))).hash)

    putting = asyncio.create_task(put_again())
    await store.looked.wait()
    discarding = asyncio.create_task(store.discard(blob.hash, lambda: blob.hash in wanted))
    await asyncio.wait({discarding}, timeout=0.1)  # it has to wait; else it would be done by now
    store.go_on.set()
    await asyncio.gather(putting, discarding)
    assert await store.exists(blob.hash)
