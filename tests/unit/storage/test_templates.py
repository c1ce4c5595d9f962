"""Templates are their versions."""

from dataclasses import replace

import pytest

from gateway.storage import templates as rows
from gateway.storage.database import Database
from gateway.storage.errors import Conflict
from gateway.storage.templates import TemplateRow


@pytest.fixture
async def db(tmp_path):
    async with await Database.open(f"sqlite:///{tmp_path / 'gateway.db'}", synchronous="normal") as db:
        yield db


def template(id_, seq=1, owner=""):
    return TemplateRow(id_, seq, owner, 1_000, 1, f"t{seq}", "what it does", 1_000, b'{"a":1}')


def newer(row, **changes):
    return replace(row, version=row.version + 1, updated_at=row.updated_at + 1, **changes)


async def test_a_template_is_its_newest_version(db):
    first = template("a")
    second = newer(first, name="other", body=b"{}")
    await db.write(*rows.insert_template(first))
    assert await rows.load_template(db, "a") == first
    await db.write(*rows.add_version(second))
    assert await rows.load_template(db, "a") == second
    assert await rows.load_template(db, "a", 1) == first
    assert await rows.load_template(db, "a", 3) is None
    assert await rows.list_versions(db, "a") == [replace(second, body=b""), replace(first, body=b"")]


async def test_a_version_is_made_once_and_of_a_template_that_is_there(db):
    row = template("a")
    await db.write(*rows.insert_template(row))
    for impossible in (row, replace(row, id="b", version=2)):
        with pytest.raises(Conflict):
            await db.write(*rows.add_version(impossible))
    assert await rows.load_template(db, "a") == row


async def test_lists_are_by_owner_newest_first_without_bodies(db):
    made = [template("a", 1, "ann"), template("b", 2, "bob"), template("c", 3, "ann")]
    for row in made:
        await db.write(*rows.insert_template(row))
    await db.write(*rows.add_version(newer(made[0])))
    heads, total = await rows.list_templates(db, owner="ann", offset=0, limit=10)
    assert [(head.id, head.version, head.body) for head in heads] == [("c", 1, b""), ("a", 2, b"")]
    assert total == await rows.count_templates(db, "ann") == 2
    assert [head.id for head in (await rows.list_templates(db, owner=None, offset=1, limit=1))[0]] == ["b"]
    assert await rows.highest_template_seq(db) == 3


async def test_deleted_it_is_gone_with_its_versions(db):
    row = template("a")
    await db.write(*rows.insert_template(row))
    await db.write(*rows.add_version(newer(row)))
    await db.write(rows.delete_template("a"))
    assert await rows.load_template(db, "a") is None
    assert await rows.list_versions(db, "a") == []
    await db.write(*rows.insert_template(row))
    assert [each.version for each in await rows.list_versions(db, "a")] == [1]
