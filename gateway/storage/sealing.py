"""Secrets that the database keeps: sealed with the gateway's key (`key_file`), so that a copy of the database alone
tells nothing of them. What is sealed, and how long it is kept, is decided by others."""

import base64
from typing import Final

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES: Final = 32


class Unsealable(ValueError):
    """Sealed with another key or for another purpose, or damaged."""


class Seal:
    """Seals and opens contents of one kind.

    Args:
        key: the gateway's own, at least 32 random bytes.
        purpose: what the contents are; one that was sealed for another purpose does not open.
    """

    def __init__(self, key: bytes, purpose: str) -> None:
        derived = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose.encode()).derive(key)
        self._fernet = Fernet(base64.urlsafe_b64encode(derived))

    def seal(self, content: bytes) -> bytes:
        """The content, unreadable and protected against changes."""
        return self._fernet.encrypt(content)

    def open(self, sealed: bytes) -> bytes:
        """The content of a seal. Raises Unsealable."""
        try:
            return self._fernet.decrypt(sealed)
        except InvalidToken:
            raise Unsealable("sealed with another key, or damaged") from None
