"""User data kept by the gateway itself: each owner's users, each user's files and settings, under one folder.

The work on the disk is done in threads; changes of one user's files are one at a time.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote
from weakref import WeakValueDictionary

from blake3 import blake3

from gateway.files.user_files import Incoming, UserFiles, remove_incoming
from gateway.files.users import Users
from gateway.storage.errors import StorageError

PIECE: Final = 1024 * 1024  # bytes of a body in memory before they are written
LONGEST_FOLDER: Final = 200  # characters, of the 255 that file systems take

ResultT = TypeVar("ResultT")


class UserData:
    """All user data. The one owner of a gateway without tokens has its users in `folder` itself; an owner with a token
    is one user, since the token tells who it is."""

    def __init__(self, folder: Path, *, multi_user: bool) -> None:
        self._folder = folder.absolute()
        self._multi_user = multi_user
        self._users: dict[str, Users] = {}
        self._locks: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()

    async def open(self) -> None:
        """Remove what a crash has left. Raises StorageError where the users can't be read."""
        await self.call(remove_incoming, self._folder)
        await self.users("")

    async def users(self, owner: str) -> Users:
        """An owner's users. Raises StorageError."""
        async with self._lock(self._folder):
            known = self._users.get(owner)
            if known is None:
                folder = self._folder / _folder_of(owner) if owner else self._folder
                multi_user = self._multi_user and not owner
                known = self._users[owner] = await self.call(Users, folder, multi_user=multi_user)
            return known

    async def add_user(self, owner: str, username: str) -> str:
        """Make a user and return its id. Raises UserRefused, StorageError."""
        users = await self.users(owner)
        async with self._lock(self._folder):
            return await self.call(users.add, username)

    async def save(
        self, files: UserFiles, name: str, chunks: AsyncIterator[bytes], *, overwrite: bool, full_info: bool
    ) -> object:
        """Write a file and return what is told of it; until it is complete, the old one stays.

        Raises UserDataRefused, StorageError, and whatever `chunks` raises.
        """
        incoming = await self.call(files.begin, name, overwrite=overwrite)
        try:
            await self._receive(incoming, chunks)
            path = await self.alone(files, files.commit, incoming, name, overwrite=overwrite)
        finally:
            await self.call(incoming.discard)
        return await self.call(files.told, path, full_info=full_info)

    async def alone(
        self, files: UserFiles, work: Callable[..., ResultT], *arguments: object, **options: object
    ) -> ResultT:
        """Do something that changes a user's files, in a thread, while nothing else does."""
        async with self._lock(files.root):
            return await self.call(work, *arguments, **options)

    async def call(self, work: Callable[..., ResultT], *arguments: object, **options: object) -> ResultT:
        """Do something on the disk, in a thread, to its end also if the caller is cancelled.

        An OSError becomes a StorageError: the disk's fault, not the request's.
        """
        task = asyncio.ensure_future(asyncio.to_thread(work, *arguments, **options))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task])
            raise
        except OSError as error:
            raise StorageError(f"user data: {error.strerror or type(error).__name__}") from error

    async def _receive(self, incoming: Incoming, chunks: AsyncIterator[bytes]) -> None:
        held = bytearray()
        async for chunk in chunks:
            held += chunk
            if len(held) >= PIECE:
                await self.call(incoming.write, bytes(held))
                held.clear()
        await self.call(incoming.write, bytes(held))
        await self.call(incoming.finish)

    def _lock(self, folder: Path) -> asyncio.Lock:
        return self._locks.setdefault(folder, asyncio.Lock())


def _folder_of(owner: str) -> str:
    """A name that stays in its folder and that no other owner has. A user's has no ``@``."""
    quoted = quote(owner, safe="")
    if len(quoted) > LONGEST_FOLDER:
        quoted = f"{quoted[: LONGEST_FOLDER // 2]}~{blake3(owner.encode()).hexdigest()}"
    return f"@{quoted}"
