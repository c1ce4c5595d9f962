"""Browsers' logins: a random cookie that stands for a token, until it is logged out, its time is over, or the token is
dead. It is kept as a digest, so the database lets nobody in.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.access import secrets
from gateway.access.token import Token
from gateway.clock import Clock
from gateway.storage import tokens as rows
from gateway.storage.database import Database
from gateway.storage.tokens import LoginRow

PER_TOKEN_MOST = 100  # sessions; the oldest makes room


class Logins:
    """The sessions of browsers. ``load`` has to be called before the first use."""

    def __init__(self, db: Database, clock: Clock, token_of: Callable[[str], Token | None], lifetime_ms: int) -> None:
        """``token_of``: the token with this digest, dead or alive."""
        self.lifetime_ms = lifetime_ms
        self._db = db
        self._clock = clock
        self._token_of = token_of
        self._logins: dict[str, LoginRow] = {}

    async def load(self) -> None:
        """Reads the sessions of earlier lives. Raises StorageError."""
        self._logins = {row.digest: row for row in await rows.load_logins(self._db)}

    async def open(self, token_digest: str) -> str:
        """A new session for the token with this digest; returns its secret. Raises StorageError."""
        now = self._clock.wall_ms()
        secret = secrets.new_session()
        row = LoginRow(secrets.digest(secret), token_digest, now, now + self.lifetime_ms)
        others = [each.digest for each in self._logins.values() if each.token_digest == token_digest]
        surplus = others[: max(len(others) + 1 - PER_TOKEN_MOST, 0)]
        await self._db.write(rows.insert_login(row), *(rows.delete_login(each) for each in surplus))
        for each in surplus:
            self._logins.pop(each, None)
        self._logins[row.digest] = row
        return secret

    def find(self, secret: str) -> tuple[str, Token] | None:
        """The digest of the session with this secret, and the token that it stands for, both alive."""
        if not secrets.is_session(secret):
            return None
        presented = secrets.digest(secret)
        row = self._logins.get(presented)
        if row is None or not secrets.same(row.digest, presented):
            return None
        token = self.token(presented)
        return (presented, token) if token is not None else None

    def token(self, login: str) -> Token | None:
        """The token behind a session's digest; None once either is over."""
        row, now = self._logins.get(login), self._clock.wall_ms()
        if row is None or row.expires_at <= now:
            return None
        token = self._token_of(row.token_digest)
        return token if token is not None and token.is_live(now) else None

    async def close(self, login: str) -> None:
        """Ends the session with this digest. Raises StorageError."""
        if self._logins.pop(login, None) is not None:
            await self._db.write(rows.delete_login(login))

    def forget_ended(self) -> None:
        """Drops the sessions that are over, here and, soon, in the database."""
        ended = [login for login in self._logins if self.token(login) is None]
        for login in ended:
            del self._logins[login]
        self._db.write_behind(*(rows.delete_login(login) for login in ended))
