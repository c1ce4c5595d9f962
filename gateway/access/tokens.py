"""The set of tokens: in memory for every request, in the database for every start.

A change is committed first and then read back, so the two never differ for long; what another process has changed is
noticed by ``refresh``. The one token that the configuration may give is in memory only.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from dataclasses import asdict, replace

from gateway.access import secrets
from gateway.access.token import ALL_SCOPES, Token, TokenLimits, with_implied
from gateway.clock import Clock
from gateway.jobs.hooks import hook_of
from gateway.storage import tokens as rows
from gateway.storage.database import Database, Operation
from gateway.storage.tokens import TokenRow

__all__ = ["CONFIGURED", "ConfiguredToken", "DeadToken", "Token", "TokenError", "TokenLimits", "Tokens", "UnknownToken"]

CONFIGURED = "configured"  # id of the token that the configuration gives
CONFIGURED_OWNER = "admin"
ID_CHARACTERS = 12


class TokenError(Exception):
    """Base of what cannot be done with a token; the message is for its maker."""


class UnknownToken(TokenError):
    """There is no token with that id."""


class ConfiguredToken(TokenError):
    """The token of the configuration is changed there."""


class DeadToken(TokenError):
    """The token is revoked or has run out."""


class Tokens:
    """All tokens. ``load`` has to be called before the first use."""

    def __init__(self, db: Database, clock: Clock, configured: str | None = None) -> None:
        """``configured``: the secret of an admin that the configuration gives."""
        self._db = db
        self._clock = clock
        self._configured = self._of_configuration(configured) if configured is not None else {}
        self._by_digest: dict[str, Token] = dict(self._configured)
        self._digests = {token.id: digest for digest, token in self._by_digest.items()}
        self._used: dict[str, int] = {}
        self._unsaved: set[str] = set()
        self._version: str | None = None
        self.generation = 0  # of the set: another one after every reading
        self._reading = asyncio.Lock()
        self.on_change: Callable[[], None] = lambda: None  # called after the set has been read anew

    def _of_configuration(self, secret: str) -> dict[str, Token]:
        now = self._clock.wall_ms()
        token = Token(CONFIGURED, "configuration", CONFIGURED_OWNER, ALL_SCOPES, created_at=now)
        return {secrets.digest(secret): token}

    # --- reading

    async def load(self) -> None:
        """Reads all tokens. Raises StorageError."""
        async with self._reading:  # an older reading must not replace a newer one
            # The version first: what changes in between is read again, and never missed.
            version = await rows.version(self._db)
            loaded = {row.digest: _token(row) for row in await rows.load_tokens(self._db)}
            self._by_digest = loaded | self._configured
            self._digests = {token.id: digest for digest, token in self._by_digest.items()}
            self._version = version
            self.generation += 1
        self.on_change()

    async def refresh(self) -> None:
        """Reads the tokens again if anyone has changed them since. Raises StorageError."""
        if await rows.version(self._db) != self._version:
            await self.load()

    def find(self, secret: str) -> Token | None:
        """The token with this secret, whether or not it is live."""
        if not secrets.is_token(secret):
            return None
        presented = secrets.digest(secret)
        token = self._by_digest.get(presented)
        if token is None or not secrets.same(self._digests[token.id], presented):
            return None
        return token

    def of_digest(self, digest: str) -> Token | None:
        """The token whose secret has this digest, whether or not it is live."""
        return self._by_digest.get(digest)

    def digest_of(self, token: Token) -> str:
        """The digest of a token's secret. Raises UnknownToken."""
        try:
            return self._digests[token.id]
        except KeyError:
            raise UnknownToken(f"There is no token {token.id}") from None

    def all(self) -> list[Token]:
        """Every token, dead ones too, the oldest first."""
        return [self._with_use(token) for token in self._by_digest.values()]

    def get(self, id: str) -> Token:  # noqa: A002  the field's name
        """The token with this id, dead or alive. Raises UnknownToken."""
        digest = self._digests.get(id)
        if digest is None:
            raise UnknownToken(f"There is no token {id}")
        return self._with_use(self._by_digest[digest])

    def is_live(self, id: str) -> bool:  # noqa: A002  the field's name
        """Whether there is a token with this id that is taken."""
        digest = self._digests.get(id)
        return digest is not None and self._by_digest[digest].is_live(self._clock.wall_ms())

    def live_of(self, owner: str) -> list[Token]:
        """The live tokens of an owner, the oldest first."""
        now = self._clock.wall_ms()
        return [token for token in self._by_digest.values() if token.owner == owner and token.is_live(now)]

    @property
    def has_admin(self) -> bool:
        """Whether anyone can administer this gateway over HTTP."""
        now = self._clock.wall_ms()
        return any(token.is_live(now) and token.scopes >= ALL_SCOPES for token in self._by_digest.values())

    # --- changing

    async def create(self, token: Token) -> tuple[Token, str]:
        """Adds a token like this one, with an id and a time of its own; returns it and its secret, which nobody can
        get a second time. Raises StorageError."""
        made = replace(
            token,
            id=uuid.uuid4().hex[:ID_CHARACTERS],
            scopes=with_implied(token.scopes),
            created_at=self._clock.wall_ms(),
            last_used_at=None,
            revoked_at=None,
            replaced_by=None,
        )
        secret = secrets.new_token()
        await self._write(rows.insert_token(_row(made, secrets.digest(secret))))
        return made, secret

    async def rotate(self, id: str, grace_ms: int) -> tuple[Token, str]:  # noqa: A002  the field's name
        """Adds another token that permits the same, for as long from now on, and has this one run out after a grace
        time.

        Returns the new one and its secret. Raises UnknownToken, ConfiguredToken, DeadToken, StorageError.
        """
        old = self._changeable(id)
        now = self._clock.wall_ms()
        if not old.is_live(now):
            raise DeadToken(f"Token {id} is {'revoked' if old.revoked else 'expired'}")
        if old.replaced_by is not None:
            raise DeadToken(f"Token {id} has been replaced by {old.replaced_by}")
        made = replace(
            old,
            id=uuid.uuid4().hex[:ID_CHARACTERS],
            created_at=now,
            last_used_at=None,
            expires_at=None if old.expires_at is None else now + old.expires_at - old.created_at,
        )
        secret = secrets.new_token()
        ends = now + grace_ms if old.expires_at is None else min(old.expires_at, now + grace_ms)
        await self._write(
            rows.insert_token(_row(made, secrets.digest(secret))),
            rows.update_token(id, {"expires_at": ends, "replaced_by": made.id}),
        )
        return made, secret

    async def revoke(self, id: str) -> Token:  # noqa: A002  the field's name
        """Has a token refused from now on. Raises UnknownToken, ConfiguredToken, StorageError."""
        token = self._changeable(id)
        if not token.revoked:
            await self._write(rows.update_token(id, {"revoked_at": self._clock.wall_ms()}))
        return self.get(id)

    async def change(self, changed: Token) -> Token:
        """Replaces what a token permits; its id, owner, secret and times of life stay, ``expires_at`` aside.

        Raises UnknownToken, ConfiguredToken, DeadToken, StorageError.
        """
        old = self._changeable(changed.id)
        if old.revoked:
            raise DeadToken(f"Token {changed.id} is revoked")
        row = _row(replace(changed, scopes=with_implied(changed.scopes)), "")
        columns = ("name", "scopes", "tags", "weight", "priority_ceiling", "limits", "expires_at", "webhook")
        await self._write(rows.update_token(changed.id, {name: getattr(row, name) for name in columns}))
        return self.get(changed.id)

    def _changeable(self, id: str) -> Token:  # noqa: A002  the field's name
        token = self.get(id)
        if token.id == CONFIGURED:
            raise ConfiguredToken("This token is access.admin_token of the configuration: change it there")
        return token

    async def _write(self, *operations: Operation) -> None:
        await self._db.write(*operations, rows.new_version())
        await self.load()

    # --- use

    def used(self, token: Token) -> None:
        """Notes that a token is being used."""
        self._used[token.id] = self._clock.wall_ms()
        self._unsaved.add(token.id)

    def save_uses(self) -> None:
        """Has the last uses written down, soon."""
        self._unsaved.discard(CONFIGURED)
        if self._unsaved:
            self._db.write_behind(*(rows.token_used(each, self._used[each]) for each in sorted(self._unsaved)))
            self._unsaved.clear()

    def forget_dead(self, kept_ms: int) -> None:
        """Has tokens removed that have been dead for longer."""
        before = self._clock.wall_ms() - kept_ms
        if any(token.dead_since(before) for token in self._by_digest.values()):
            self._db.write_behind(rows.forget_tokens(before), rows.new_version())

    def _with_use(self, token: Token) -> Token:
        used = self._used.get(token.id)
        return token if used is None else replace(token, last_used_at=used)


def _row(token: Token, digest: str) -> TokenRow:
    return TokenRow(
        id=token.id,
        digest=digest,
        name=token.name,
        owner=token.owner,
        scopes=json.dumps(sorted(token.scopes)),
        tags=json.dumps(token.tags),
        weight=token.weight,
        priority_ceiling=token.priority_ceiling,
        limits=json.dumps(asdict(token.limits)),
        created_at=token.created_at,
        expires_at=token.expires_at,
        last_used_at=token.last_used_at,
        revoked_at=token.revoked_at,
        replaced_by=token.replaced_by,
        webhook=None if token.webhook is None else json.dumps(token.webhook.as_json()),
    )


def _token(row: TokenRow) -> Token:
    return Token(
        id=row.id,
        name=row.name,
        owner=row.owner,
        scopes=frozenset(json.loads(row.scopes)),
        tags=tuple(json.loads(row.tags)),
        weight=row.weight,
        priority_ceiling=row.priority_ceiling,
        limits=TokenLimits(**json.loads(row.limits)),
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
        replaced_by=row.replaced_by,
        webhook=None if row.webhook is None else hook_of(json.loads(row.webhook)),
    )
