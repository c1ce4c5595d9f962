"""One user's files on disk: names, listings, writing, moving. Nothing here is async: callers use threads.

Rules: ComfyUI app/user_manager.py, in the form of its newest releases.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

INCOMING: Final = ".incoming-"  # begins the names of files that are not complete yet, which no listing shows
BAD_NAME: Final = 'Invalid filename. Please avoid special characters like :\\/*?"<>|'  # shown by the frontend
_NAME_ERRORS: Final = frozenset(
    {errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EINVAL, errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY}
)


class UserDataRefused(Exception):
    """A request that ComfyUI refuses, too: the answer's status, its text, and its reason phrase where that tells."""

    def __init__(self, status: int, text: str = "", *, reason: str | None = None) -> None:
        super().__init__(text or reason or str(status))
        self.status = status
        self.text = text
        self.reason = reason


class Incoming:
    """A file that is being written, next to the place where it will be."""

    def __init__(self, folder: Path) -> None:
        descriptor, name = tempfile.mkstemp(prefix=INCOMING, dir=folder)
        self.path = Path(name)
        self._file = os.fdopen(descriptor, "wb")

    def write(self, content: bytes) -> None:
        """Add to it."""
        self._file.write(content)

    def finish(self) -> None:
        """Complete: its bytes are on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def move_to(self, path: Path) -> None:
        """Give it its name, in place of whatever has it; after a crash there is either file, whole."""
        self.path.replace(path)
        sync_folder(path.parent)

    def discard(self) -> None:
        """Remove what is left of it, if it was not moved."""
        self._file.close()
        self.path.unlink(missing_ok=True)


class UserFiles:
    """The files of one user, below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path_of(self, name: str) -> Path:
        """The path of a name, which may be URL-encoded once more. UserDataRefused 403 where it leaves the folder."""
        wanted = unquote(name) if "%" in name else name
        path = Path(os.path.normpath(self.root / wanted))
        if not path.is_relative_to(self.root):
            raise UserDataRefused(403)
        return path

    def existing(self, name: str) -> Path:
        """The path of a file or folder that is there; UserDataRefused 403, 404."""
        path = self.path_of(name)
        _make_folder(path.parent)
        if not _exists(path):
            raise UserDataRefused(404)
        return path

    def listing(self, directory: str, *, recurse: bool, full_info: bool, split: bool) -> list[Any]:
        """The files of a folder by path below it, hidden ones left out.

        `full_info`: facts as `info` gives them; else with `split` each path is followed by its parts. UserDataRefused
        403, 404.
        """
        try:
            folder = self.path_of(directory)
        except UserDataRefused:
            raise UserDataRefused(403, "Invalid directory") from None
        _make_folder(folder.parent)
        if not _exists(folder):
            raise UserDataRefused(404, "Directory not found")
        found = list(_visible_files(folder, recurse, set())) if folder.is_dir() else []
        if full_info:
            return [info(path, folder) for path in found]
        paths = [path.relative_to(folder).as_posix() for path in found]
        return [[path, *path.split("/")] for path in paths] if split else paths

    def tree(self, directory: str) -> list[dict[str, Any]]:
        """All below a folder, hidden ones too, folders first: name, path, type; of files also size and the time of the
        last change in seconds. UserDataRefused 400, 404.
        """
        try:
            folder = self.path_of(unquote(directory)) if directory else self.root
        except UserDataRefused:
            raise UserDataRefused(400, "Invalid path requested") from None
        if not _exists(folder):
            if folder == self.root:
                return []
            raise UserDataRefused(404, "Requested path not found")
        if not folder.is_dir():
            raise UserDataRefused(400, "Requested path is not a directory")
        rows = []
        for parent, folders, files in os.walk(folder):
            rows += [self._row(Path(parent, name), "directory") for name in folders]
            rows += [self._row(Path(parent, name), "file") for name in files if not name.startswith(INCOMING)]
        return sorted(rows, key=lambda row: (row["type"] != "directory", row["name"].lower(), row["path"]))

    def begin(self, name: str, *, overwrite: bool) -> Incoming:
        """Start to write a file. UserDataRefused: 403, 409 where it is there and must stay, 400 for an impossible name.

        Raises OSError where the disk fails.
        """
        path = self.path_of(name)
        _make_folder(path.parent)
        self._may_replace(path, overwrite)
        try:
            return Incoming(path.parent)
        except (OSError, ValueError) as error:
            raise _refused(error, 400) from error

    def commit(self, incoming: Incoming, name: str, *, overwrite: bool) -> Path:
        """Give a finished file its name. Refuses as `begin` does."""
        path = self.path_of(name)
        self._may_replace(path, overwrite)
        try:
            incoming.move_to(path)
        except (OSError, ValueError) as error:
            raise _refused(error, 400) from error
        return path

    def delete(self, name: str) -> None:
        """Remove a file. UserDataRefused: 403, 404, 500 for a folder."""
        path = self.existing(name)
        try:
            path.unlink()
        except OSError as error:
            raise _refused(error, 500) from error
        sync_folder(path.parent)

    def move(self, name: str, target: str, *, overwrite: bool) -> Path:
        """Rename a file or folder, and return the new path. UserDataRefused: 403, 404, 409, 500 where it can't be."""
        path, new = self.existing(name), self.path_of(target)
        _make_folder(new.parent)
        self._may_replace(new, overwrite)
        try:
            shutil.move(path, new)
        except (OSError, ValueError) as error:
            raise _refused(error, 500) from error
        sync_folder(new.parent)
        return new

    def told(self, path: Path, *, full_info: bool) -> Any:
        """What the answer says of a path: facts as `info` gives them, or the path below the user's folder."""
        return info(path, self.root) if full_info else os.path.relpath(path, self.root)

    def _may_replace(self, path: Path, overwrite: bool) -> None:
        if not overwrite and _exists(path):
            raise UserDataRefused(409, "File already exists")

    def _row(self, path: Path, kind: str) -> dict[str, Any]:
        row: dict[str, Any] = {"name": path.name, "path": path.relative_to(self.root).as_posix(), "type": kind}
        if kind == "file":
            with suppress(OSError):  # a broken link is listed without facts
                facts = path.stat()
                row |= {"size": facts.st_size, "modified": facts.st_mtime}
        return row


def info(path: Path, relative_to: Path) -> dict[str, Any]:
    """Path, size in bytes, and times in milliseconds since the epoch."""
    facts = path.stat()
    return {
        "path": path.relative_to(relative_to).as_posix(),
        "size": facts.st_size,
        "modified": int(facts.st_mtime * 1000),
        "created": int(facts.st_ctime * 1000),
    }


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file by another content, atomically and durably. Raises OSError."""
    _make_folder(path.parent)
    incoming = Incoming(path.parent)
    try:
        incoming.write(content)
        incoming.finish()
        incoming.move_to(path)
    finally:
        incoming.discard()


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_incoming(root: Path) -> None:
    """Remove what a crash has left half-written below `root`."""
    for parent, _, files in os.walk(root):
        for name in files:
            if name.startswith(INCOMING):
                Path(parent, name).unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    """As ComfyUI does whenever a name is looked at; where it can't be made, what follows tells."""
    with suppress(OSError, ValueError):
        folder.mkdir(parents=True, exist_ok=True)


def _exists(path: Path) -> bool:
    """False also for what can't be a name at all."""
    try:
        return path.exists()
    except OSError:
        return False


def _visible_files(folder: Path, recurse: bool, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """Files whose name doesn't begin with a dot; with `recurse` also those in such folders, each entered once."""
    facts = folder.stat()
    if (facts.st_dev, facts.st_ino) in seen:
        return
    seen.add((facts.st_dev, facts.st_ino))
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_file():
            yield path
        elif recurse and path.is_dir():
            yield from _visible_files(path, recurse, seen)


def _refused(error: OSError | ValueError, status: int) -> Exception:
    """A fault of the name is refused; one of the disk stays what it is."""
    by_name = not isinstance(error, OSError) or isinstance(error, shutil.Error) or error.errno in _NAME_ERRORS
    if not by_name:
        return error
    return UserDataRefused(status, reason=BAD_NAME if status == 400 else None)
