"""The gateway's own secret: random bytes in a file of its data folder that only its user can read, made at the first
start. What is signed or sealed with it is good for as long as the file stays."""

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from gateway.storage.errors import StorageError

KEY_BYTES: Final = 32
OWNER_ONLY: Final = 0o600


def read_or_make(path: Path) -> bytes:
    """The key. Raises StorageError: it cannot be read or made, or it is no key."""
    try:
        with suppress(FileNotFoundError):
            return _checked(path, path.read_bytes())
        path.parent.mkdir(parents=True, exist_ok=True)
        incoming = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        _write(incoming, secrets.token_bytes(KEY_BYTES))
        with suppress(FileExistsError):  # somebody else was faster: theirs counts
            os.link(incoming, path)
        incoming.unlink()
        return _checked(path, path.read_bytes())
    except OSError as error:
        raise StorageError(f"key file {path}: {error}") from error


def _write(path: Path, key: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())


def _checked(path: Path, key: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise StorageError(f"key file {path}: it must have {KEY_BYTES} bytes; restore it, or remove it for a new one")
    return key
