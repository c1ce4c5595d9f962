"""What a token is and what it permits. Who presents one, and where it is kept, is written elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.jobs.hooks import Hook

RUN, MANAGE, ADMIN = "run", "manage", "admin"
SCOPES = (RUN, MANAGE, ADMIN)
ALL_SCOPES = frozenset(SCOPES)


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """A token's own limits; None where the configuration's holds. ``rate`` is in requests a minute, ``pending`` and
    ``running`` in jobs, ``sockets`` in websockets, ``body_bytes`` of one request, ``max_stored_bytes`` of its files."""

    rate: int | None = None
    pending: int | None = None
    running: int | None = None
    sockets: int | None = None
    body_bytes: int | None = None
    max_stored_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """One token, without its secret. Times are milliseconds since the epoch.

    Attributes:
        id: names it in listings and in the audit trail.
        name: what it is for, in its maker's words.
        owner: whose jobs and files its bearer reaches. Several tokens may have one owner.
        scopes: of ``run`` (what a client of ComfyUI does), ``manage`` (runners), ``admin`` (all, of everyone).
        tags: the runners' tags that its jobs may ask for; empty: any.
        weight: its owner's share where several owners wait.
        priority_ceiling: the highest priority that its jobs may have; None: any.
        limits: its own limits.
        expires_at: from when on it is refused; None: never.
        revoked_at: when it was revoked.
        replaced_by: the id of the token that it was rotated to.
        webhook: where the events of its jobs are sent, beside what they ask for themselves.
    """

    id: str
    name: str
    owner: str
    scopes: frozenset[str]
    created_at: int
    tags: tuple[str, ...] = ()
    weight: float = 1.0
    priority_ceiling: int | None = None
    limits: TokenLimits = field(default_factory=TokenLimits)
    expires_at: int | None = None
    last_used_at: int | None = None
    revoked_at: int | None = None
    replaced_by: str | None = None
    webhook: Hook | None = None

    @property
    def revoked(self) -> bool:
        """Whether it was revoked."""
        return self.revoked_at is not None

    def expired(self, now: int) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= now

    def is_live(self, now: int) -> bool:
        """Whether it is taken."""
        return not self.revoked and not self.expired(now)

    def dead_since(self, moment: int) -> bool:
        """Whether it was revoked, or ran out, at that moment or before."""
        return self.expired(moment) or (self.revoked_at is not None and self.revoked_at <= moment)


def with_implied(scopes: Iterable[str]) -> frozenset[str]:
    """These scopes and those that they include: an admin may do everything."""
    given = frozenset(scopes)
    return ALL_SCOPES if ADMIN in given else given
