"""The text of tokens and of browsers' sessions: how one is made, how it is found in other text, and what is kept of it.

A token is ``cgw_`` and 256 random bits. Only its SHA-256 is kept: what is as random as that needs no slow hash.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

from gateway.config.access import TOKEN

# The prefixes let scanners of secrets, and the gateway's own redaction, know one when they see it.
TOKEN_PREFIX = "cgw_"
SESSION_PREFIX = "cgs_"
RANDOM_BYTES = 32
REDACTED = "[redacted]"
ANY_SECRET = re.compile(r"cg[ws]_[A-Za-z0-9_-]{16,}")


def new_token() -> str:
    """A new token's text, to be shown once."""
    return TOKEN_PREFIX + secrets.token_urlsafe(RANDOM_BYTES)


def new_session() -> str:
    """A new session's text, for a cookie."""
    return SESSION_PREFIX + secrets.token_urlsafe(RANDOM_BYTES)


def is_session(text: str) -> bool:
    """Whether this text has a session's form."""
    return text.startswith(SESSION_PREFIX) and ANY_SECRET.fullmatch(text) is not None


def without_secrets(text: str) -> str:
    """The text with all tokens and sessions in it made unreadable."""
    return ANY_SECRET.sub(REDACTED, text)


def is_token(text: str) -> bool:
    """Whether this text has a token's form."""
    return TOKEN.fullmatch(text) is not None


def digest(secret: str) -> str:
    """What is kept of a secret: its SHA-256 in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def same(left: str, right: str) -> bool:
    """Whether two digests are the same, in constant time."""
    return hmac.compare_digest(left.encode(), right.encode())
