"""Contents by their hash, in a local folder or an object store. Names, owners and types of files are kept elsewhere.

A blob lies at `ab/cd/<hash>`. While it arrives it has a name under `incoming/`, so that an address always holds all of
its content; what a crash leaves there is removed by `clean`.
"""

import asyncio
import os
import re
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final
from weakref import WeakValueDictionary

import obstore
from blake3 import blake3
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from gateway.storage.errors import BlobMissing, BlobTooLarge, StorageError

INCOMING: Final = "incoming"
PART: Final = 5 * 1024 * 1024  # bytes kept in memory per writer before they go to the store; S3's smallest part
CHUNK: Final = 512 * 1024  # bytes per chunk when reading: each is a hop between threads, and memory of a download
STALE: Final = timedelta(days=1)  # an older incoming object in a shared store is nobody's any more

_HASH: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Blob:
    """A content that is in the store: its BLAKE3 hash in hex and its size in bytes."""

    hash: str
    size: int


class BlobStore:
    """A store at a folder's path, or at a URL that obstore understands (`s3://bucket/prefix`, `gs://…`, `az://…`)."""

    def __init__(self, url_or_path: str | Path) -> None:
        """Connects to nothing; StorageError if the folder can't be made or the URL isn't understood."""
        location = str(url_or_path)
        self._folder = None if "://" in location else Path(location).expanduser().absolute()
        try:
            self._store: ObjectStore = LocalStore(self._folder, mkdir=True) if self._folder else from_url(location)
        except (BaseError, OSError, ValueError) as error:
            raise StorageError(f"blob store {location}: {error}") from error
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def clean(self) -> None:
        """Remove what unfinished puts have left. Call it before the first put."""
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder / INCOMING, ignore_errors=True)
            return
        before = datetime.now(UTC) - STALE
        with _store_errors():
            async for page in obstore.list(self._store, INCOMING):
                stale = [item["path"] for item in page if item["last_modified"] < before]
                if stale:
                    await obstore.delete_async(self._store, stale)

    async def put(self, chunks: AsyncIterator[bytes], *, max_bytes: int | None = None) -> Blob:
        """Store a stream and return its address once it is complete (and, in a folder, on the disk).

        Raises BlobTooLarge past `max_bytes`, StorageError if the store fails, and whatever `chunks` raises; in these
        cases, and when cancelled, nothing stays.
        """
        incoming = f"{INCOMING}/{uuid.uuid4().hex}"
        try:
            blob = await self._receive(chunks, incoming, max_bytes)
            async with self._lock(blob.hash):
                with _store_errors():
                    if await self._size(blob.hash) == blob.size:
                        await obstore.delete_async(self._store, incoming)
                    else:
                        await obstore.rename_async(self._store, incoming, _key(blob.hash))
        except BaseException:
            with suppress(BaseError, OSError):  # the first error counts; `clean` gets what is left
                await obstore.delete_async(self._store, incoming)
            raise
        return blob

    async def read(self, hash: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:  # noqa: A002
        """The bytes from `start` up to, not including, `end`, as an iterator; BlobMissing before the first byte."""
        with _store_errors(hash):
            if self._folder is not None:
                return await _read_file(self._folder / _key(hash), start, end)
            if start == 0 and end is None:
                found = await obstore.get_async(self._store, _key(hash))
            else:
                size = await self.size(hash)
                stop = size if end is None else min(end, size)
                if start >= stop:
                    return _nothing()
                found = await obstore.get_async(self._store, _key(hash), options={"range": (start, stop)})
        return _chunks(found)

    async def exists(self, hash: str) -> bool:  # noqa: A002
        """Whether that content is in the store."""
        with _store_errors():
            return await self._size(hash) is not None

    async def size(self, hash: str) -> int:  # noqa: A002
        """Its size in bytes; BlobMissing."""
        with _store_errors():
            size = await self._size(hash)
        if size is None:
            raise BlobMissing(f"no blob {hash}")
        return size

    async def delete(self, hash: str) -> None:  # noqa: A002
        """Remove a content; fine if it isn't there."""
        with _store_errors(), suppress(FileNotFoundError):
            await obstore.delete_async(self._store, _key(hash))

    async def discard(self, hash: str, is_wanted: Callable[[], bool]) -> None:  # noqa: A002
        """Remove a content unless it is wanted; that is asked when no put of the same content is under way. Whoever
        puts one has to want it from the moment on when `put` returns."""
        async with self._lock(hash):
            if not is_wanted():
                await self.delete(hash)

    def _lock(self, hash_: str) -> asyncio.Lock:
        return self._locks.setdefault(hash_, asyncio.Lock())

    async def _receive(self, chunks: AsyncIterator[bytes], incoming: str, max_bytes: int | None) -> Blob:
        hasher = blake3()
        size = 0
        # Left unclosed, as after an error, the writer drops what it has.
        writer = obstore.open_writer_async(self._store, incoming, buffer_size=PART)
        async for chunk in chunks:
            size += len(chunk)
            if max_bytes is not None and size > max_bytes:
                raise BlobTooLarge(f"more than {max_bytes} bytes")
            hasher.update(chunk)
            with _store_errors():
                await writer.write(chunk)
        with _store_errors():
            await writer.close()
            if self._folder is not None:
                await asyncio.to_thread(_to_disk, self._folder / incoming)
        return Blob(hasher.hexdigest(), size)

    async def _size(self, hash_: str) -> int | None:
        try:
            return (await obstore.head_async(self._store, _key(hash_)))["size"]
        except FileNotFoundError:
            return None


def _key(hash_: str) -> str:
    if not _HASH.fullmatch(hash_):
        raise BlobMissing(f"not a content hash: {hash_!r}")
    return f"{hash_[:2]}/{hash_[2:4]}/{hash_}"


def _to_disk(path: Path) -> None:
    """The store leaves it to the system when a file gets to the disk; a row that names it is there at once."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


async def _read_file(path: Path, start: int, end: int | None) -> AsyncIterator[bytes]:
    """The same of a folder: the store reads 8 kB at a time. Raises OSError, FileNotFoundError."""
    file, first = await asyncio.to_thread(_opened, path, start, end)
    return _pieces(file, first, start + len(first), end)


def _opened(path: Path, start: int, end: int | None) -> tuple[BinaryIO | None, bytes]:
    """The first piece, and the file unless that is all."""
    file = path.open("rb", buffering=0)
    try:
        stop = os.fstat(file.fileno()).st_size
        stop = stop if end is None else min(end, stop)
        first = os.pread(file.fileno(), max(min(CHUNK, stop - start), 0), start)
    except BaseException:
        file.close()
        raise
    if start + len(first) >= stop:
        file.close()
        return None, first
    return file, first


async def _pieces(file: BinaryIO | None, piece: bytes, at: int, end: int | None) -> AsyncIterator[bytes]:
    with _store_errors(), file or nullcontext():
        while piece:
            yield piece
            if file is None:
                return
            most = CHUNK if end is None else min(CHUNK, end - at)
            piece = await asyncio.to_thread(os.pread, file.fileno(), most, at)
            at += len(piece)


async def _nothing() -> AsyncIterator[bytes]:
    for chunk in tuple[bytes, ...]():
        yield chunk


async def _chunks(found: "obstore.GetResult") -> AsyncIterator[bytes]:
    with _store_errors():
        async for chunk in found.stream(min_chunk_size=CHUNK):
            yield bytes(chunk)


@contextmanager
def _store_errors(hash_: str = "") -> Iterator[None]:
    """Tell the store's errors as the storage family's."""
    try:
        yield
    except FileNotFoundError as error:
        raise BlobMissing(f"no blob {hash_}") from error
    except (BaseError, OSError) as error:
        raise StorageError(f"blob store: {error}") from error
