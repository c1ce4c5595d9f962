"""The text of tokens: how one is made, how it is found in other text, and what of it is kept.

A token is ``cgw_`` and 256 random bits. Only its SHA-256 is kept: what is as random as that needs no slow hash.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from gateway.config.access import TOKEN

PREFIX = "cgw_"  # so that scanners of secrets, and the gateway's own redaction, know one when they see it
RANDOM_BYTES = 32


def new_token() -> str:
    """A new token's text, to be shown once."""
    return PREFIX + secrets.token_urlsafe(RANDOM_BYTES)


def is_token(text: str) -> bool:
    """Whether this text has a token's form."""
    return TOKEN.fullmatch(text) is not None


def digest(secret: str) -> str:
    """What is kept of a secret: its SHA-256 in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def same(left: str, right: str) -> bool:
    """Whether two digests are the same, in constant time."""
    return hmac.compare_digest(left.encode(), right.encode())
