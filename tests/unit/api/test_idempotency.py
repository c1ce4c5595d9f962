"""The table of `gateway.api.idempotency`, row by row, over a database of its own."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from sqlalchemy import text

from gateway.api.idempotency import LIFE_MS, REPLAYED, KeyMalformed, KeyReused, Keys, KeyUnderWay, key_of
from gateway.storage.database import Database


class TurnedClock:
    now = 1_700_000_000_000

    def wall_ms(self):
        return self.now

    def monotonic(self):
        return self.now / 1000


class Act:
    """What the request does; ``ids`` are those that it was called with."""

    def __init__(self, status=201, body=b'{"id":1}', fails=False):
        self.status, self.body, self.fails = status, body, fails
        self.ids = []

    async def __call__(self, given):
        self.ids.append(given)
        if self.fails:
            raise RuntimeError("a fault")
        return web.Response(status=self.status, body=self.body)


@pytest.fixture
def clock():
    return TurnedClock()


@pytest.fixture
async def db(tmp_path):
    async with await Database.open(f"sqlite:///{tmp_path}/keys.db", synchronous="normal") as db:
        yield db


@pytest.fixture
def keys(db, clock):
    return Keys(db, clock)


async def test_answered_once_it_is_answered_the_same_again_and_does_nothing(keys):
    act, again = Act(), Act(body=b"other")
    first = await keys.once("a", "k", "f", act)
    second = await keys.once("a", "k", "f", again)
    assert (first.status, first.body, REPLAYED in first.headers) == (201, b'{"id":1}', False)
    assert (second.status, second.body, second.headers[REPLAYED]) == (201, b'{"id":1}', "true")
    assert (len(act.ids), again.ids) == (1, [])
    assert act.ids[0].version == 4


async def test_another_life_of_the_gateway_knows_the_answer(keys, db, clock):
    await keys.once("a", "k", "f", Act())
    again = Act()
    assert (await Keys(db, clock).once("a", "k", "f", again)).body == b'{"id":1}'
    assert again.ids == []


async def test_another_request_with_the_key_is_refused(keys):
    await keys.once("a", "k", "f", Act())
    with pytest.raises(KeyReused):
        await keys.once("a", "k", "g", Act())


async def test_keys_belong_to_their_owner(keys):
    await keys.once("a", "k", "f", Act())
    other = Act()
    await keys.once("b", "k", "g", other)
    assert len(other.ids) == 1


async def test_under_way_the_same_is_told_so_and_another_is_refused(keys):
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def slow(_given):
        begun.set()
        await goes_on.wait()
        return web.Response(status=201)

    first = asyncio.create_task(keys.once("a", "k", "f", slow))
    await begun.wait()
    with pytest.raises(KeyUnderWay):
        await keys.once("a", "k", "f", Act())
    with pytest.raises(KeyReused):
        await keys.once("a", "k", "g", Act())
    goes_on.set()
    assert (await first).status == 201


async def test_after_a_fault_it_runs_again_under_the_same_id(keys, db, clock):
    failed, again = Act(fails=True), Act()
    with pytest.raises(RuntimeError):
        await keys.once("a", "k", "f", failed)
    with pytest.raises(KeyReused):
        await Keys(db, clock).once("a", "k", "g", Act())
    await Keys(db, clock).once("a", "k", "f", again)
    assert failed.ids == again.ids != []


async def test_an_answer_of_500_is_no_answer_to_keep(keys):
    first, again = Act(status=500), Act()
    await keys.once("a", "k", "f", first)
    assert (await keys.once("a", "k", "f", again)).status == 201
    assert first.ids == again.ids


async def test_a_refusal_lets_the_key_go(keys):
    refused, mended = Act(status=400), Act()
    await keys.once("a", "k", "f", refused)
    assert (await keys.once("a", "k", "g", mended)).status == 201
    assert refused.ids != mended.ids


async def test_after_a_day_the_key_is_new_and_the_older_are_gone(keys, db, clock):
    first, again = Act(), Act(body=b"2")
    await keys.once("a", "k", "f", first)
    await keys.once("a", "other", "f", Act())
    clock.now += LIFE_MS - 1
    assert (await keys.once("a", "k", "f", again)).body == b'{"id":1}'
    clock.now += 2
    assert (await keys.once("a", "k", "g", again)).body == b"2"
    assert first.ids != again.ids
    left = await db.read(text("select key from idempotency_keys"))
    assert [row[0] for row in left] == ["k"]


@pytest.mark.parametrize(
    ("given", "key"), [(None, None), ("abc", "abc"), ('"abc"', "abc"), ('"', '"'), ("x" * 255, "x" * 255)]
)
def test_a_key_may_have_quotes(given, key):
    headers = {} if given is None else {"Idempotency-Key": given}
    assert key_of(make_mocked_request("POST", "/", headers=headers)) == key


@pytest.mark.parametrize("given", ["", '""', "a b", "x" * 256, "é"])
def test_what_is_no_key_is_told(given):
    with pytest.raises(KeyMalformed):
        key_of(make_mocked_request("POST", "/", headers={"Idempotency-Key": given}))
