"""What clients upload, under the names ComfyUI would give it. The bytes are in the blob store, the names here.

All names are in memory; a change is in the database before it is told. Rules: ComfyUI server.py image_upload.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

from gateway.clock import Clock
from gateway.comfyui import names
from gateway.files.stored import Stored
from gateway.storage.blobs import Blob, BlobStore
from gateway.storage.database import Database
from gateway.storage.errors import BlobTooLarge
from gateway.storage.files import UploadRow, delete_upload, load_uploads, upsert_upload
from gateway.tasks import kept

OVERWRITE: Final = frozenset({"true", "1"})  # what clients send for it; anything else means no

ResultT = TypeVar("ResultT")
_Folder = tuple[str, str, str]  # owner, type, subfolder


class UploadRefused(Exception):
    """An upload that ComfyUI refuses, too; `status` is the answer's HTTP status."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class StorageFull(UploadRefused):
    """507: the owner may not store so much. Sizes in bytes: what its uploads have, what it may store, what was sent."""

    def __init__(self, stored: int, most: int, size: int) -> None:
        super().__init__(507, f"{stored} of {most} bytes are taken by uploads; another {size} do not fit")
        self.stored = stored
        self.most = most
        self.size = size


class Uploads:
    """The uploads of all owners; the owner is "" without authentication.

    `reserved(type, subfolder, filename, owner)` says which names belong to something else of the owner's (its jobs'
    outputs) and are not given. `stored` counts what every owner has.
    """

    def __init__(
        self,
        db: Database,
        blobs: BlobStore,
        *,
        reserved: Callable[[str, str, str, str], bool] = lambda *_: False,
        clock: Clock | None = None,
        stored: Stored | None = None,
    ) -> None:
        self._db = db
        self._blobs = blobs
        self._stored = stored or Stored()
        self._reserved = reserved
        self._clock = clock or Clock()
        self._folders: dict[_Folder, dict[str, UploadRow]] = {}
        self._sorted: dict[_Folder, tuple[str, ...]] = {}  # the names of those that were asked for
        self._locks: WeakValueDictionary[_Folder, asyncio.Lock] = WeakValueDictionary()
        self._saving: set[asyncio.Task[Any]] = set()
        self._unnamed: Counter[str] = Counter()  # contents in the store that are about to get a name

    async def load(self) -> None:
        """Read the names from the database; before anything else."""
        for row in await load_uploads(self._db):
            self._add(row)
            self._stored.upload_changed(None, row)

    async def save(
        self,
        chunks: AsyncIterator[bytes],
        *,
        filename: str,
        subfolder: str = "",
        type: str | None = None,  # noqa: A002  the form field's name
        overwrite: bool | str | None = False,
        owner: str = "",
        max_bytes: int | None = None,
        same_as: str | None = None,
    ) -> UploadRow:
        """Keep an upload and return its row, whose names are those for the answer.

        `type` and `overwrite` are taken as the form has them; a file there with the content `same_as` (a hash; without
        it the upload's own) counts as this one. Raises UploadRefused: 400 for a missing name or a path
        that leaves its folder, 413 past `max_bytes`, 500 for an unknown type (ComfyUI falls over there), 507 past what
        the owner may store; StorageError if it can't be kept. A caller that goes away once the bytes are here changes
        nothing.
        """
        folder, name = _place(filename, subfolder, type, owner)
        try:
            blob = await self._blobs.put(chunks, max_bytes=max_bytes)
        except BlobTooLarge as error:
            raise UploadRefused(413, f"Maximum request body size {max_bytes} exceeded.") from error
        named = self._name(folder, name, blob, _replaces(overwrite), same_as or blob.hash)
        return await self._to_the_end(self._kept_or_discarded(named, blob.hash))

    def name_for(
        self,
        content_hash: str,
        *,
        filename: str,
        subfolder: str = "",
        type: str | None = None,  # noqa: A002  the form field's name
        overwrite: bool | str | None = False,
        owner: str = "",
    ) -> tuple[str, bool]:
        """The name that `save` would now give an upload of this content, and whether that content has it already.

        Raises UploadRefused as `save` does.
        """
        folder, name = _place(filename, subfolder, type, owner)
        if _replaces(overwrite):
            return name, False
        name = self._free_name(folder, name, content_hash)
        return name, name in self._folders.get(folder, {})

    def find(self, type: str, subfolder: str, filename: str, owner: str = "") -> UploadRow | None:  # noqa: A002
        """The owner's upload with that name."""
        folder = self._folders.get((owner, type, names.normal_subfolder(subfolder)))
        return folder.get(filename) if folder else None

    def names(self, type: str, owner: str = "") -> tuple[str, ...]:  # noqa: A002
        """The names in the folder of a type itself, sorted: what LoadImage and its like offer. The same object while
        they are the same."""
        folder = (owner, type, "")
        if folder not in self._folders:
            return ()
        if folder not in self._sorted:
            self._sorted[folder] = tuple(sorted(self._folders[folder]))
        return self._sorted[folder]

    def rows(self, type: str, owner: str = "") -> list[UploadRow]:  # noqa: A002
        """All of the owner's uploads of a type, subfolders included."""
        return [
            row
            for (of_owner, of_type, _), folder in self._folders.items()
            if (of_owner, of_type) == (owner, type)
            for row in folder.values()
        ]

    def rows_in(self, type: str, subfolder: str, owner: str = "") -> list[UploadRow]:  # noqa: A002
        """The owner's uploads in one folder."""
        return list(self._folders.get((owner, type, names.normal_subfolder(subfolder)), {}).values())

    def older_than(self, time_ms: int, type: str) -> list[UploadRow]:  # noqa: A002
        """Everyone's uploads of a type that have not been written since."""
        return [
            row
            for (_, of_type, _), folder in self._folders.items()
            if of_type == type
            for row in folder.values()
            if row.modified_at < time_ms
        ]

    def is_taken(self, type: str, subfolder: str, filename: str, owner: str = "") -> bool:  # noqa: A002
        """Whether the owner has an upload of that name."""
        return self.find(type, subfolder, filename, owner) is not None

    def owners(self) -> set[str]:
        """Who has uploads."""
        return {owner for owner, _, _ in self._folders}

    def uses(self, content_hash: str) -> bool:
        """Whether any upload has that content, or is about to."""
        return self._unnamed[content_hash] > 0 or self._stored.uses(content_hash)

    async def open(self, row: UploadRow, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """An upload's bytes, from `start` up to, not including, `end`; BlobMissing before the first byte."""
        return await self._blobs.read(row.content_hash, start, end)

    async def name_again(self, row: UploadRow, *, subfolder: str, owner: str) -> UploadRow:
        """Keep an upload's content under its name in another folder, too, and return that row. Raises StorageFull,
        StorageError."""
        folder, name = _place(row.filename, subfolder, row.type, owner)
        blob = Blob(row.content_hash, row.size)
        return await self._to_the_end(self._name(folder, name, blob, False, row.content_hash))

    async def delete(self, row: UploadRow) -> None:
        """Forget an upload, unless it was written over since; its bytes stay."""
        await self._to_the_end(self._forget(row))

    def _name(
        self, folder: _Folder, wanted: str, blob: Blob, overwrite: bool, same_as: str
    ) -> Coroutine[Any, Any, UploadRow]:
        """Decide the name and keep the row; from this call on the content counts as used."""
        self._unnamed[blob.hash] += 1
        return self._named(folder, wanted, blob, overwrite, same_as)

    async def _kept_or_discarded(self, named: Coroutine[Any, Any, UploadRow], content_hash: str) -> UploadRow:
        """The row; a content for which there is no room does not stay."""
        try:
            return await named
        except StorageFull:
            await self._discard(content_hash)
            raise

    async def _named(self, folder: _Folder, wanted: str, blob: Blob, overwrite: bool, same_as: str) -> UploadRow:
        try:
            return await self._keep_row(folder, wanted, blob, overwrite, same_as)
        finally:
            self._unnamed[blob.hash] -= 1
            if not self._unnamed[blob.hash]:
                del self._unnamed[blob.hash]

    async def _keep_row(self, folder: _Folder, wanted: str, blob: Blob, overwrite: bool, same_as: str) -> UploadRow:
        """One at a time per folder, so that no two get the same name."""
        owner, kind, subfolder = folder
        async with self._lock(folder):
            name = wanted if overwrite else self._free_name(folder, wanted, same_as)
            old = self._folders.get(folder, {}).get(name)
            if old is not None and not overwrite:
                return old
            now = self._clock.wall_ms()
            created = old.created_at if old else now
            row = UploadRow(owner, kind, subfolder, name, blob.hash, blob.size, created, now)
            self._make_room(row, old)
            try:
                await self._db.write(upsert_upload(row))
            except BaseException:
                self._stored.upload_changed(row, old)
                raise
            self._add(row)
        if old is not None:
            await self._discard(old.content_hash)
        return row

    async def _discard(self, content_hash: str) -> None:
        """Removes a content that no name has any more."""
        await self._blobs.discard(content_hash, lambda: self.uses(content_hash))

    def _make_room(self, row: UploadRow, old: UploadRow | None) -> None:
        """Counts an upload before it is written, so that two at once do not take the same room. Raises StorageFull."""
        growth = row.size - (old.size if old else 0)
        most = self._stored.most_of(row.owner)
        if most is not None and self._stored.is_full_for(row.owner, growth):
            raise StorageFull(self._stored.uploads_of(row.owner), most, row.size)
        self._stored.upload_changed(old, row)

    def _free_name(self, folder: _Folder, wanted: str, content_hash: str) -> str:
        """The wanted name or the next that is free; a name with this content is."""
        owner, kind, subfolder = folder
        there = self._folders.get(folder, {})

        def other_content(name: str) -> bool:
            row = there.get(name)
            return row.content_hash != content_hash if row else self._reserved(kind, subfolder, name, owner)

        return names.deduplicated(wanted, other_content)

    async def _forget(self, row: UploadRow) -> None:
        folder = (row.owner, row.type, row.subfolder)
        async with self._lock(folder):
            if self._folders.get(folder, {}).get(row.filename) != row:
                return
            await self._db.write(delete_upload(row.owner, row.type, row.subfolder, row.filename))
            self._stored.upload_changed(row, None)
            there = self._folders.get(folder, {})
            there.pop(row.filename, None)
            self._sorted.pop(folder, None)
            if not there:
                self._folders.pop(folder, None)

    def _add(self, row: UploadRow) -> None:
        folder = (row.owner, row.type, row.subfolder)
        self._folders.setdefault(folder, {})[row.filename] = row
        self._sorted.pop(folder, None)

    def _lock(self, folder: _Folder) -> asyncio.Lock:
        return self._locks.setdefault(folder, asyncio.Lock())

    async def _to_the_end(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Wait for `work`, which goes on to its end also if the caller is cancelled."""
        return await asyncio.shield(kept(work, self._saving))


def _place(filename: str, subfolder: str, type_: str | None, owner: str) -> tuple[_Folder, str]:
    """The folder and the name that a form asks for. Raises UploadRefused."""
    kind = "input" if type_ is None else type_
    if not names.is_file_type(kind):
        raise UploadRefused(500, f"unknown type {kind!r}")
    if not names.is_safe_upload(filename, subfolder):
        raise UploadRefused(400, f"not a file name: {filename!r} in {subfolder!r}")
    path, _, name = filename.rpartition("/")
    return (owner, kind, names.normal_subfolder("/".join(filter(None, (subfolder, path))))), name


def _replaces(overwrite: bool | str | None) -> bool:
    return overwrite is True or overwrite in OVERWRITE
