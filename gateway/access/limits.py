"""How much each owner, token and address may ask for: the configuration's numbers, and those that tokens have of their
own. What is refused, and in which words, is said by ``gateway.api.limiting``; jobs are held back by the jobs room,
files by ``gateway.files.stored``.

    limit       counted for     where a token says nothing
    rate        each token      limits.requests_per_minute
    address     each address    limits.requests_per_minute_per_address
    pending     each owner      limits.pending
    running     each owner      limits.running
    sockets     each owner      limits.sockets
    body        each request    limits.body_bytes
    stored      each owner      limits.max_stored_bytes

An owner's limits are those of its most generous live token. Without tokens everyone together is one owner.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from limits import RateLimitItemPerMinute

from gateway.access.attempts import network_of
from gateway.access.callers import Identity
from gateway.access.errors import TooManyRequests, TooManySockets
from gateway.access.tokens import Tokens
from gateway.access.windows import Rates
from gateway.clock import Clock
from gateway.config import LimitsConfig

OWNERS_REMEMBERED = 10_000
RETRY_SECONDS = 5  # where nothing tells when a socket will be free


@dataclass(frozen=True, slots=True)
class OwnerLimits:
    """What one owner may have at a time; None: as much as it likes."""

    pending: int | None
    running: int | None
    sockets: int | None
    max_stored_bytes: int | None


class Limits:
    """Counts what is asked for. Methods that refuse raise a ``Refused``."""

    def __init__(self, config: LimitsConfig, tokens: Tokens, clock: Clock) -> None:
        self._config = config
        self._tokens = tokens
        self._rates = Rates(clock.monotonic)
        self._of_owner: dict[str, OwnerLimits] = {}
        self._generation = -1
        self._sockets: Counter[str] = Counter()

    @property
    def counts_addresses(self) -> bool:
        """Whether addresses have a limit at all."""
        return self._config.requests_per_minute_per_address is not None

    def check_address(self, address: str) -> None:
        """Counts a request of an address; of an IPv6 one, of its network. Raises TooManyRequests."""
        self._count(self._config.requests_per_minute_per_address, f"address {network_of(address)}", "from this address")

    def check_caller(self, identity: Identity) -> None:
        """Counts a request with a token. Raises TooManyRequests."""
        if identity.token is not None:
            most = identity.token.limits.rate
            most = self._config.requests_per_minute if most is None else most
            self._count(most, f"token {identity.token.id}", "with this token")

    def body_bytes(self, identity: Identity) -> int | None:
        """How large a request of this caller may be, beside what holds for all."""
        if identity.token is None:
            return None
        own = identity.token.limits.body_bytes
        return self._config.body_bytes if own is None else own

    def of_owner(self, owner: str) -> OwnerLimits:
        """What an owner may have at a time."""
        if self._generation != self._tokens.generation or len(self._of_owner) > OWNERS_REMEMBERED:
            self._generation = self._tokens.generation
            self._of_owner.clear()
        known = self._of_owner.get(owner)
        if known is None:
            known = self._of_owner[owner] = self._drawn(owner)
        return known

    @contextmanager
    def socket(self, owner: str) -> Iterator[None]:
        """For as long as a websocket stands. Raises TooManySockets."""
        most = self.of_owner(owner).sockets
        if most is not None and self._sockets[owner] >= most:
            raise TooManySockets(most, RETRY_SECONDS)
        self._sockets[owner] += 1
        try:
            yield
        finally:
            self._sockets[owner] -= 1
            if not self._sockets[owner]:
                del self._sockets[owner]

    def _count(self, most: int | None, key: str, whose: str) -> None:
        if most is None:
            return
        item = RateLimitItemPerMinute(most)
        if not self._rates.hit(item, key):
            raise TooManyRequests(f"More than {most} requests a minute {whose}", self._rates.wait_seconds(item, key))

    def _drawn(self, owner: str) -> OwnerLimits:
        own = [token.limits for token in self._tokens.live_of(owner)]
        return OwnerLimits(
            pending=_most((limits.pending for limits in own), self._config.pending),
            running=_most((limits.running for limits in own), self._config.running),
            sockets=_most((limits.sockets for limits in own), self._config.sockets),
            max_stored_bytes=_most((limits.max_stored_bytes for limits in own), self._config.max_stored_bytes),
        )


def _most(given: Iterable[int | None], otherwise: int | None) -> int | None:
    """The most generous of an owner's tokens; the configuration's where they say nothing, or there are none."""
    effective = [otherwise if value is None else value for value in given] or [otherwise]
    return None if None in effective else max(value for value in effective if value is not None)
