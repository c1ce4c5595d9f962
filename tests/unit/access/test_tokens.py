"""The set of tokens: made, found, rotated, revoked; what is kept of them; and what another process changes."""

from dataclasses import replace

import pytest

from gateway.access.token import ALL_SCOPES, Token, TokenLimits
from gateway.access.tokens import CONFIGURED, ConfiguredToken, DeadToken, Tokens, UnknownToken
from gateway.storage.database import Database

from .conftest import DAY_MS, NOW

WANTED = Token("", "laptop", "alice", frozenset({"run"}), 0)
CONFIGURED_SECRET = "cgw_" + "c" * 40


@pytest.fixture
async def tokens(db, clock):
    made = Tokens(db, clock)
    await made.load()
    return made


async def test_a_token_is_found_by_its_secret_only(tokens):
    token, secret = await tokens.create(WANTED)
    assert tokens.find(secret) == token
    for other in (secret[:-1], secret + "a", secret.swapcase(), "", "x", "cgw_" + "a" * 43, token.id):
        assert tokens.find(other) is None


async def test_nothing_in_the_database_is_the_secret(tokens, db, tmp_path):
    _, secret = await tokens.create(WANTED)
    await db.flushed()
    for path in tmp_path.iterdir():
        assert secret.encode() not in path.read_bytes(), path
        assert secret.removeprefix("cgw_").encode() not in path.read_bytes(), path


async def test_all_of_a_token_is_kept(tokens, db, clock):
    wanted = replace(
        WANTED,
        scopes=frozenset({"manage"}),
        tags=("sdxl", "a100"),
        weight=2.5,
        priority_ceiling=3,
        limits=TokenLimits(rate=60, pending=5, running=2, sockets=4),
        expires_at=NOW + DAY_MS,
    )
    token, secret = await tokens.create(wanted)
    assert replace(token, id="", created_at=0) == wanted
    again = Tokens(db, clock)
    await again.load()
    assert again.find(secret) == token


async def test_an_admin_may_do_everything(tokens):
    token, _ = await tokens.create(replace(WANTED, scopes=frozenset({"admin"})))
    assert token.scopes == ALL_SCOPES
    assert tokens.has_admin


async def test_a_manager_is_no_admin(tokens):
    await tokens.create(replace(WANTED, scopes=frozenset({"manage", "run"})))
    assert not tokens.has_admin


async def test_a_revoked_token_is_dead_and_stays_listed(tokens):
    token, secret = await tokens.create(WANTED)
    revoked = await tokens.revoke(token.id)
    assert revoked.revoked_at == NOW
    assert not tokens.is_live(token.id)
    assert tokens.find(secret).revoked
    assert [each.id for each in tokens.all()] == [token.id]
    assert await tokens.revoke(token.id) == revoked, "a second time changes nothing"
    for forbidden in (tokens.change(replace(revoked, name="other")), tokens.rotate(token.id, 0)):
        with pytest.raises(DeadToken):
            await forbidden


async def test_a_token_runs_out(tokens, clock):
    token, _ = await tokens.create(replace(WANTED, expires_at=NOW + 1_000))
    assert tokens.is_live(token.id)
    clock.now += 1_000
    assert not tokens.is_live(token.id)


class TestRotation:
    async def test_both_live_until_the_grace_time_is_over(self, tokens, clock):
        old, old_secret = await tokens.create(WANTED)
        new, new_secret = await tokens.rotate(old.id, DAY_MS)
        assert (new.owner, new.name, new.scopes, new.expires_at) == (old.owner, old.name, old.scopes, None)
        assert tokens.get(old.id).replaced_by == new.id
        assert {token.id for token in tokens.live_of("alice")} == {old.id, new.id}
        clock.now += DAY_MS
        assert [token.id for token in tokens.live_of("alice")] == [new.id]
        assert tokens.find(old_secret).expired(clock.now)
        assert tokens.find(new_secret).is_live(clock.now)

    async def test_the_new_one_lives_as_long_as_the_old_one_was_to_live(self, tokens, clock):
        old, _ = await tokens.create(replace(WANTED, expires_at=NOW + 10 * DAY_MS))
        clock.now += 9 * DAY_MS
        new, _ = await tokens.rotate(old.id, 5 * DAY_MS)
        assert new.expires_at == clock.now + 10 * DAY_MS
        assert tokens.get(old.id).expires_at == NOW + 10 * DAY_MS, "the grace time lengthens no life"

    async def test_a_token_is_replaced_once(self, tokens):
        old, _ = await tokens.create(WANTED)
        new, _ = await tokens.rotate(old.id, DAY_MS)
        with pytest.raises(DeadToken, match=new.id):
            await tokens.rotate(old.id, DAY_MS)


async def test_unknown_ids_are_told(tokens):
    for call in (tokens.revoke("x"), tokens.rotate("x", 0), tokens.change(replace(WANTED, id="x"))):
        with pytest.raises(UnknownToken):
            await call


class TestOfTheConfiguration:
    async def test_it_is_an_admins_and_in_no_database(self, db, clock):
        tokens = Tokens(db, clock, CONFIGURED_SECRET)
        await tokens.load()
        assert tokens.find(CONFIGURED_SECRET).scopes == ALL_SCOPES
        assert tokens.has_admin
        plain = Tokens(db, clock)
        await plain.load()
        assert plain.all() == []

    async def test_it_is_changed_there(self, db, clock):
        tokens = Tokens(db, clock, CONFIGURED_SECRET)
        await tokens.load()
        for call in (tokens.revoke(CONFIGURED), tokens.rotate(CONFIGURED, 0)):
            with pytest.raises(ConfiguredToken):
                await call

    async def test_its_use_is_written_nowhere(self, db, clock):
        tokens = Tokens(db, clock, CONFIGURED_SECRET)
        await tokens.load()
        tokens.used(tokens.get(CONFIGURED))
        assert tokens.get(CONFIGURED).last_used_at == NOW
        tokens.save_uses()
        await db.flushed()


class TestAnotherProcess:
    async def test_is_noticed(self, tokens, db, clock):
        async with await Database.join(f"sqlite:///{db.path}") as beside:
            other = Tokens(beside, clock)
            await other.load()
            token, secret = await other.create(WANTED)
            assert tokens.find(secret) is None
            await tokens.refresh()
            assert tokens.find(secret) == token
            await other.revoke(token.id)
        await tokens.refresh()
        assert not tokens.is_live(token.id)

    async def test_is_noticed_too_where_both_change_something(self, tokens, db, clock):
        async with await Database.join(f"sqlite:///{db.path}") as beside:
            other = Tokens(beside, clock)
            await other.load()
            theirs, secret = await other.create(WANTED)
        await tokens.create(replace(WANTED, name="ours"))
        assert tokens.find(secret) == theirs

    async def test_a_look_reads_nothing_where_nothing_has_changed(self, tokens, monkeypatch):
        await tokens.create(WANTED)
        monkeypatch.setattr(tokens, "load", None)
        await tokens.refresh()


async def test_uses_are_written_down(tokens, db, clock):
    token, _ = await tokens.create(WANTED)
    clock.now += 5_000
    tokens.used(token)
    assert tokens.get(token.id).last_used_at == NOW + 5_000
    tokens.save_uses()
    await db.flushed()
    again = Tokens(db, clock)
    await again.load()
    assert again.get(token.id).last_used_at == NOW + 5_000


async def test_dead_tokens_go_after_a_while(tokens, db, clock):
    live, _ = await tokens.create(WANTED)
    revoked, _ = await tokens.create(WANTED)
    expired, _ = await tokens.create(replace(WANTED, expires_at=NOW + DAY_MS))
    await tokens.revoke(revoked.id)
    clock.now += 9 * DAY_MS
    tokens.forget_dead(10 * DAY_MS)
    await db.flushed()
    await tokens.refresh()
    assert {token.id for token in tokens.all()} == {live.id, revoked.id, expired.id}
    clock.now += 2 * DAY_MS
    tokens.forget_dead(10 * DAY_MS)
    await db.flushed()
    await tokens.refresh()
    assert [token.id for token in tokens.all()] == [live.id]
