"""What an owner, a token and an address may ask for."""

from __future__ import annotations

import pytest
from support.room import StandingClock

from gateway.access.callers import Identity
from gateway.access.errors import TooManyRequests, TooManySockets
from gateway.access.limits import Limits, OwnerLimits
from gateway.access.token import Token, TokenLimits
from gateway.config import LimitsConfig


class Known:
    """The live tokens."""

    def __init__(self, *tokens: Token) -> None:
        self.tokens = list(tokens)
        self.generation = 1

    def live_of(self, owner: str) -> list[Token]:
        return [token for token in self.tokens if token.owner == owner]


def token(owner: str = "anna", token_id: str = "1", **limits: int | None) -> Token:
    return Token(token_id, "", owner, frozenset({"run"}), 0, limits=TokenLimits(**limits))


def limits(*tokens: Token, **config: int) -> Limits:
    return Limits(LimitsConfig(**config), Known(*tokens), StandingClock())


@pytest.mark.parametrize(
    ("own", "configured", "wanted"),
    [
        ([], None, None),
        ([], 5, 5),
        ([None], 5, 5),
        ([9], 5, 9),
        ([2], 5, 2),
        ([0], 5, 0),
        ([2, 9], 5, 9),
        ([2, None], 5, 5),
        ([2, None], None, None),
        ([7], None, 7),
    ],
)
def test_the_most_generous_token_counts(own, configured, wanted):
    found = limits(*(token(pending=each) for each in own), **({"pending": configured} if configured else {}))
    assert found.of_owner("anna") == OwnerLimits(wanted, None, None, None)


def test_changed_tokens_are_looked_at_anew():
    known = Known(token(running=1))
    found = Limits(LimitsConfig(), known, StandingClock())
    assert found.of_owner("anna").running == 1
    known.tokens = [token(running=3)]
    assert found.of_owner("anna").running == 1, "nothing says that they have changed"
    known.generation += 1
    assert found.of_owner("anna").running == 3


def test_requests_are_counted_for_each_token():
    found = limits(requests_per_minute=1)
    first, second = Identity.of(token(token_id="1")), Identity.of(token(token_id="2"))
    generous = Identity.of(token(token_id="3", rate=2))
    found.check_caller(first)
    found.check_caller(second)
    with pytest.raises(TooManyRequests) as refused:
        found.check_caller(first)
    assert refused.value.headers == {"Retry-After": "60"}
    for _ in range(2):
        found.check_caller(generous)
    with pytest.raises(TooManyRequests):
        found.check_caller(generous)


def test_requests_are_counted_for_each_address():
    found = limits(requests_per_minute_per_address=1)
    for address in ("10.0.0.1", "10.0.0.2", "2001:db8::1"):
        found.check_address(address)
    for address in ("10.0.0.1", "2001:db8::2"):
        with pytest.raises(TooManyRequests):
            found.check_address(address)


def test_sockets_are_counted_while_they_are_open():
    found = limits(token(sockets=2), sockets=1)
    with found.socket("anna"), found.socket("bert"):
        with found.socket("anna"), pytest.raises(TooManySockets), found.socket("anna"):
            pass
        with found.socket("anna"), pytest.raises(TooManySockets), found.socket("bert"):
            pass
    assert not found._sockets, "nothing is kept of those who have none"


def test_bodies_are_bounded_for_tokens_only():
    found = limits(body_bytes=2_048)
    assert found.body_bytes(Identity.of(token())) == 2_048
    assert found.body_bytes(Identity.of(token(body_bytes=4_096))) == 4_096
    assert found.body_bytes(Identity("", frozenset())) is None
