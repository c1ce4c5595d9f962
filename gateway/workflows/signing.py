"""Signed URLs: whoever has one may fetch the one file that it names, until it expires, and nothing else.

What is signed is the path and the time; the key never leaves the gateway, and URLs outlive its restarts.
"""

from __future__ import annotations

import hashlib
from typing import Final

from itsdangerous import BadSignature, TimestampSigner

from gateway.clock import Clock

SALT: Final = "gateway.workflows.outputs"  # the same key may sign other things without one being taken for another
SEPARATOR: Final = "."


class Signer:
    """Signs paths, and checks them.

    Args:
        key: at least 32 random bytes.
        clock: by whose wall time URLs expire.
        seconds: for how long a signature is good.
    """

    def __init__(self, key: bytes, clock: Clock, *, seconds: float) -> None:
        self._signer = _Signer(key, clock)
        self._seconds = seconds

    def sign(self, path: str) -> str:
        """The signature of a path: letters, digits, ``-``, ``_`` and ``.``, fit for a query."""
        return self._signer.sign(path).decode().removeprefix(path + SEPARATOR)

    def is_good(self, path: str, signature: str) -> bool:
        """Whether this gateway has signed that path, and not too long ago."""
        try:
            signed = self._signer.unsign(f"{path}{SEPARATOR}{signature}", max_age=int(self._seconds))
        except BadSignature:
            return False
        return signed.decode() == path


class _Signer(TimestampSigner):
    """itsdangerous' by the gateway's own clock."""

    def __init__(self, key: bytes, clock: Clock) -> None:
        super().__init__(key, salt=SALT, sep=SEPARATOR, digest_method=hashlib.sha256)
        self._clock = clock

    def get_timestamp(self) -> int:
        """Seconds since the epoch."""
        return self._clock.wall_ms() // 1_000
