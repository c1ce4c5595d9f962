"""Rows of tokens, of browsers' logins and of the audit trail. What they permit is decided in `gateway.access`.

The tokens' version is a note that every change of a token rewrites: a gateway that reads it often knows when another
process, such as the command line beside it, has changed them.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update

from gateway.storage import meta
from gateway.storage.database import Database
from gateway.storage.schema import audit, logins, tokens
from gateway.storage.writer import Operation, values_of

VERSION = "tokens_version"  # key in the meta table


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One token. Times are milliseconds; scopes, tags and limits are JSON."""

    id: str
    digest: str
    name: str
    owner: str
    scopes: str
    tags: str
    weight: float
    priority_ceiling: int | None
    limits: str
    created_at: int
    expires_at: int | None
    last_used_at: int | None
    revoked_at: int | None
    replaced_by: str | None
    webhook: str | None  # JSON


@dataclass(frozen=True, slots=True)
class LoginRow:
    """A browser's session, which stands for the token with that digest. Times are milliseconds."""

    digest: str
    token_digest: str
    created_at: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class AuditRow:
    """What somebody did. ``detail`` is JSON; ``id`` grows with time, and is None until it is stored."""

    id: int | None
    at: int
    token_id: str | None
    token_name: str | None
    owner: str
    address: str | None
    action: str
    target: str
    detail: str


_TOKEN_COLUMNS = [tokens.c[field.name] for field in fields(TokenRow)]
_LOGIN_COLUMNS = [logins.c[field.name] for field in fields(LoginRow)]
_AUDIT_COLUMNS = [audit.c[field.name] for field in fields(AuditRow)]

_insert_token = insert(tokens)
_used = update(tokens).where(tokens.c.id == bindparam("of_id")).values(last_used_at=bindparam("at"))
_forget_tokens = delete(tokens).where(
    (tokens.c.revoked_at <= bindparam("before")) | (tokens.c.expires_at <= bindparam("before"))
)
_insert_login = insert(logins)
_delete_login = delete(logins).where(logins.c.digest == bindparam("of_digest"))
_insert_audit = insert(audit)
_forget_audit = delete(audit).where(audit.c.at <= bindparam("before"))


def insert_token(row: TokenRow) -> Operation:
    """Add a token; Conflict if its id or its digest is there."""
    return Operation(_insert_token, values_of(row))


def update_token(id: str, columns: Mapping[str, object]) -> Operation:  # noqa: A002  the column's name
    """Set these columns of a token; an unknown one is left alone."""
    return Operation(update(tokens).where(tokens.c.id == id).values(**columns))


def token_used(id: str, at: int) -> Operation:  # noqa: A002  the column's name
    """Note when a token was last used."""
    return Operation(_used, {"of_id": id, "at": at})


def forget_tokens(before: int) -> Operation:
    """Remove tokens that were revoked, or ran out, before then."""
    return Operation(_forget_tokens, {"before": before})


def new_version() -> Operation:
    """Has every gateway on this database read the tokens again."""
    return meta.set_meta(VERSION, uuid.uuid4().hex)


async def version(db: Database) -> str | None:
    """The tokens' version."""
    return await meta.get_meta(db, VERSION)


async def load_tokens(db: Database) -> list[TokenRow]:
    """All tokens, the oldest first."""
    rows = await db.read(select(*_TOKEN_COLUMNS).order_by(tokens.c.created_at, tokens.c.id))
    return [_token(row) for row in rows]


def insert_login(row: LoginRow) -> Operation:
    """Add a browser's session."""
    return Operation(_insert_login, values_of(row))


def delete_login(digest: str) -> Operation:
    """Forget a browser's session."""
    return Operation(_delete_login, {"of_digest": digest})


async def load_logins(db: Database) -> list[LoginRow]:
    """All sessions, the oldest first."""
    return [_login(row) for row in await db.read(select(*_LOGIN_COLUMNS).order_by(logins.c.created_at))]


def insert_audit(row: AuditRow) -> Operation:
    """Add a line to the trail."""
    values = values_of(row)
    del values["id"]
    return Operation(_insert_audit, values)


def forget_audit(before: int) -> Operation:
    """Forget what was done before then."""
    return Operation(_forget_audit, {"before": before})


async def load_audit(
    db: Database, *, limit: int, before_id: int | None = None, where: Mapping[str, str] | None = None
) -> list[AuditRow]:
    """The newest lines of the trail first: at most ``limit``, older than ``before_id``, with these values."""
    query = select(*_AUDIT_COLUMNS).order_by(audit.c.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(audit.c.id < before_id)
    for column, value in (where or {}).items():
        query = query.where(audit.c[column] == value)
    return [_audit(row) for row in await db.read(query)]


def _token(row: Any) -> TokenRow:
    return TokenRow(*row)


def _login(row: Any) -> LoginRow:
    return LoginRow(*row)


def _audit(row: Any) -> AuditRow:
    return AuditRow(*row)
