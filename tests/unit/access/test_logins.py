"""Browsers' sessions: how long they live, and that they die with their token."""

from dataclasses import replace

import pytest

from gateway.access.logins import PER_TOKEN_MOST, Logins
from gateway.access.token import Token
from gateway.access.tokens import Tokens

from .conftest import DAY_MS, NOW

WANTED = Token("", "laptop", "alice", frozenset({"run"}), 0)


@pytest.fixture
async def tokens(db, clock):
    made = Tokens(db, clock)
    await made.load()
    return made


@pytest.fixture
def logins(db, clock, tokens):
    return Logins(db, clock, tokens.of_digest, 7 * DAY_MS)


async def logged_in(tokens, logins, **more):
    token, _ = await tokens.create(replace(WANTED, **more))
    return token, await logins.open(tokens.digest_of(token))


async def test_a_session_stands_for_its_token(tokens, logins):
    token, secret = await logged_in(tokens, logins)
    assert logins.find(secret)[1] == token
    for other in ("", secret[:-1], "cgs_" + "a" * 43, secret + "\xff"):
        assert logins.find(other) is None


async def test_it_outlives_a_restart_and_is_not_kept_in_the_clear(tokens, logins, db, clock, tmp_path):
    token, secret = await logged_in(tokens, logins)
    again = Logins(db, clock, tokens.of_digest, 7 * DAY_MS)
    await again.load()
    assert again.find(secret)[1] == token
    for path in tmp_path.iterdir():
        assert secret.encode() not in path.read_bytes()


async def test_it_ends_with_its_time(tokens, logins, clock):
    _, secret = await logged_in(tokens, logins)
    clock.now += 7 * DAY_MS - 1
    assert logins.find(secret)
    clock.now += 1
    assert logins.find(secret) is None


async def test_it_ends_with_its_token(tokens, logins, clock):
    revoked, first = await logged_in(tokens, logins)
    _, second = await logged_in(tokens, logins, expires_at=NOW + DAY_MS)
    await tokens.revoke(revoked.id)
    assert logins.find(first) is None
    assert logins.find(second)
    clock.now += DAY_MS
    assert logins.find(second) is None


async def test_it_ends_when_it_is_closed(tokens, logins, db, clock):
    _, secret = await logged_in(tokens, logins)
    await logins.close(logins.find(secret)[0])
    assert logins.find(secret) is None
    again = Logins(db, clock, tokens.of_digest, DAY_MS)
    await again.load()
    assert again.find(secret) is None


async def test_a_token_has_so_many_sessions_at_most(tokens, logins):
    token, first = await logged_in(tokens, logins)
    others = [await logins.open(tokens.digest_of(token)) for _ in range(PER_TOKEN_MOST)]
    assert logins.find(first) is None
    assert all(logins.find(secret) for secret in others)


async def test_ended_ones_are_forgotten(tokens, logins, db, clock):
    token, _ = await logged_in(tokens, logins)
    _, kept = await logged_in(tokens, logins)
    await tokens.revoke(token.id)
    logins.forget_ended()
    await db.flushed()
    again = Logins(db, clock, tokens.of_digest, DAY_MS)
    await again.load()
    assert len(again._logins) == 1
    assert again.find(kept)
