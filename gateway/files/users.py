"""Who the users are: one, or those in `users.json`. Their files are in `gateway.files.user_files`. Not async.

Rules: ComfyUI app/user_manager.py.
"""

import json
import re
import uuid
from pathlib import Path
from typing import Final

from gateway.files.user_files import UserFiles, write_whole
from gateway.storage.errors import StorageError

DEFAULT_USER: Final = "default"
USERS_FILE: Final = "users.json"
SYSTEM_PREFIX: Final = "__"
USERS_MOST: Final = 10_000
NAME_MOST: Final = 128  # characters

_NOT_IN_AN_ID: Final = re.compile(r"[^a-zA-Z0-9_-]+")


class UnknownUser(Exception):
    """The request names no user that is there."""


class UserRefused(Exception):
    """A user that can't be made; the message is for the client."""


class Users:
    """The users below a folder: with `multi_user` those in its `users.json`, else one, whose name is `default`.

    Raises StorageError where `users.json` can't be read: to begin without users would lose them.
    """

    def __init__(self, folder: Path, *, multi_user: bool) -> None:
        self.multi_user = multi_user
        self._folder = folder
        self._file = folder / USERS_FILE
        self.names: dict[str, str] = self._read() if multi_user else {DEFAULT_USER: DEFAULT_USER}

    def files_of(self, header: str | None) -> UserFiles:
        """The files of a request's user; `header` is its `comfy-user`, None without one. Raises UnknownUser."""
        user = header if self.multi_user and header is not None else DEFAULT_USER
        if user not in self.names or user.startswith(SYSTEM_PREFIX):
            raise UnknownUser(user)
        return UserFiles(self._folder / user)

    def add(self, username: str) -> str:
        """Make a user and return its id. A single user's server keeps it until it ends, for it is of no use there.

        Raises UserRefused; OSError where it can't be written.
        """
        name = username.strip()
        if username in self.names.values() or name in self.names.values():
            raise UserRefused("Duplicate username.")
        if not name:
            raise UserRefused("username not provided")
        if len(name) > NAME_MOST:
            raise UserRefused(f"username has more than {NAME_MOST} characters")
        user = _NOT_IN_AN_ID.sub("-", name)
        if name.startswith(SYSTEM_PREFIX) or user.startswith(SYSTEM_PREFIX):
            raise UserRefused("System User prefix not allowed")
        if len(self.names) >= USERS_MOST:
            raise UserRefused("too many users")
        user = f"{user}_{uuid.uuid4()}"
        names = self.names | {user: name}
        if self.multi_user:
            write_whole(self._file, json.dumps(names).encode())
        self.names = names
        return user

    def _read(self) -> dict[str, str]:
        try:
            found = json.loads(self._file.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise StorageError(f"{self._file}: {error}") from error
        if not isinstance(found, dict) or not all(isinstance(name, str) for name in found.values()):
            raise StorageError(f"{self._file} is not a mapping of ids to names")
        # An id is a folder's name: one that was put there by hand must not lead elsewhere.
        return {user: name for user, name in found.items() if not _NOT_IN_AN_ID.search(user)}
