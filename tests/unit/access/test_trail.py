"""The audit trail's lines: kept for a while, read in pages."""

import pytest

from gateway.access.trail import DETAIL_MOST, TEXT_MOST, Trail, text_of
from gateway.storage.tokens import AuditRow

from .conftest import DAY_MS


@pytest.fixture
def trail(db, clock):
    return Trail(db, clock)


async def add(trail, db, *actions, owner="alice"):
    for action in actions:
        trail.add(AuditRow(None, trail.now(), "id", "name", owner, "127.0.0.1", action, "target", "{}"))
    await db.flushed()


async def test_pages_begin_with_the_newest(trail, db):
    await add(trail, db, "one", "two", "three")
    first = await trail.page(limit=2)
    assert [line.action for line in first] == ["three", "two"]
    assert [line.action for line in await trail.page(limit=2, before_id=first[-1].id)] == ["one"]


async def test_lines_are_found_by_their_values(trail, db):
    await add(trail, db, "one", "two")
    await add(trail, db, "one", owner="bob")
    found = await trail.page(limit=9, where={"action": "one", "owner": "bob"})
    assert [(line.action, line.owner) for line in found] == [("one", "bob")]


async def test_old_lines_go(trail, db, clock):
    await add(trail, db, "old")
    clock.now += 2 * DAY_MS
    await add(trail, db, "new")
    trail.forget(DAY_MS)
    await db.flushed()
    assert [line.action for line in await trail.page(limit=9)] == ["new"]


def test_details_are_bounded_and_without_secrets():
    assert text_of({"text": "x" * 1_000}) == f'{{"text": "{"x" * TEXT_MOST}"}}'
    assert text_of({str(number): "x" * TEXT_MOST for number in range(100)}).startswith('{"left_out": ')
    assert len(text_of({"many": list(range(10_000))})) < DETAIL_MOST
    assert text_of({"note": "cgw_" + "s" * 43}) == '{"note": "[redacted]"}'
