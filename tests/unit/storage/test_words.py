"""Text that a database cannot keep."""

import pytest
from sqlalchemy import Column, MetaData, Table, create_engine, select

from gateway.storage.words import String, storable


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", ""),
        ("plain", "plain"),
        ("ä 😀", "ä 😀"),
        ("a\ud800b", "a���b"),
        ("\udc00", "���"),
        ("a\0b", "a\ufffdb"),
        ("ä\0\ud800", "ä\ufffd���"),
    ],
)
def test_what_is_kept(text, kept):
    assert storable(text) == kept
    assert storable(kept) == kept


def test_a_row_is_written_and_found():
    table = Table("t", MetaData(), Column("name", String))
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        table.metadata.create_all(connection)
        connection.execute(table.insert(), [{"name": "a\ud800"}, {"name": None}])
        found = connection.execute(select(table.c.name).where(table.c.name == "a\ud800")).scalars().all()
        assert found == [storable("a\ud800")]
    engine.dispose()
