"""Statements that are compiled once do what SQLAlchemy does with them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from gateway.storage import statements

metadata = sa.MetaData()
things = sa.Table(
    "things",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("is_large", sa.Boolean),
    sa.Column("weight", sa.Float),
    sa.Column("content", sa.LargeBinary),
    sa.Column("colour", sa.Text, default="grey"),
)
ADD = sa.insert(things)
PUT = insert(things).on_conflict_do_update(index_elements=["name"], set_={"weight": 7.0})
WEIGH = sa.update(things).where(things.c.name == sa.bindparam("key")).values(weight=sa.bindparam("new"))
FORGET = sa.delete(things).where(things.c.name.in_(["b", "c"]))
ROW = {"name": "a", "is_large": True, "weight": 1, "content": b"\0x", "colour": None}


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        metadata.create_all(connection)
        yield connection
    engine.dispose()


def rows(connection: sa.Connection) -> list[tuple[object, ...]]:
    return [tuple(row) for row in connection.execute(sa.select(things).order_by(things.c.name))]


def test_many_rows_with_every_kind_of_value(connection):
    statements.execute(connection, ADD, [ROW, {**ROW, "name": "b", "is_large": False, "content": None}])
    statements.execute(connection, WEIGH, [{"key": "a", "new": 2.5}, {"key": "b", "new": None}])
    assert rows(connection) == [("a", True, 2.5, b"\0x", None), ("b", False, None, None, None)]


def test_another_set_of_columns_is_another_text(connection):
    statements.execute(connection, ADD, [ROW])
    statements.execute(connection, ADD, [{"name": "b", "colour": "red"}])
    assert rows(connection)[1] == ("b", None, None, None, "red")


@pytest.mark.parametrize(
    ("statement", "params", "left"),
    [
        (ADD, {"name": "b"}, [("a", 1.0, None), ("b", None, "grey")]),
        (PUT, {"name": "a", "colour": "red"}, [("a", 7.0, None)]),
        (FORGET, {}, [("a", 1.0, None)]),
        (sa.text("UPDATE things SET weight = 3"), {}, [("a", 3.0, None)]),
    ],
    ids=["a default of its own", "a value of its own", "a list", "a text"],
)
def test_what_sqlalchemy_has_to_finish(connection, statement, params, left):
    statements.execute(connection, ADD, [ROW])
    statements.execute(connection, statement, [params])
    assert [(name, weight, colour) for name, _, weight, _, colour in rows(connection)] == left


def test_a_row_that_is_there_is_told_as_by_sqlalchemy(connection):
    statements.execute(connection, ADD, [ROW])
    with pytest.raises(sa.exc.IntegrityError):
        statements.execute(connection, ADD, [ROW])
