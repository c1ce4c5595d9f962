"""A database that is joined beside the gateway which has it open."""

import pytest
import sqlalchemy as sa

from gateway.storage.database import Database, StorageError
from gateway.storage.meta import get_meta, set_meta


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/gateway.db"


async def test_both_write_and_both_read(url):
    async with await Database.open(url) as gateway, await Database.join(url) as beside:
        await beside.write(set_meta("from beside", "1"))
        await gateway.write(set_meta("from the gateway", "2"))
        assert await get_meta(gateway, "from beside") == "1"
        assert await get_meta(beside, "from the gateway") == "2"


async def test_it_holds_nothing_that_a_gateway_needs(url):
    await (await Database.open(url)).close()
    async with await Database.join(url), await Database.open(url) as gateway:
        await gateway.write(set_meta("key", "value"))


async def test_one_that_nobody_has_made_is_made(url):
    async with await Database.join(url) as first:
        await first.write(set_meta("key", "value"))
    async with await Database.open(url) as gateway:
        assert await get_meta(gateway, "key") == "value"


async def test_one_of_a_newer_gateway_is_left_as_it_is(url, tmp_path):
    async with await Database.open(url) as db:
        await db.write(set_meta("key", "value"))
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    with pytest.raises(StorageError, match="unknown to this gateway"):
        await Database.join(url)


async def test_a_file_that_is_no_database_is_refused(url, tmp_path):
    (tmp_path / "gateway.db").write_bytes(b"not a database " * 1000)
    with pytest.raises(StorageError, match="not an SQLite database"):
        await Database.join(url)
    assert (tmp_path / "gateway.db").read_bytes() == b"not a database " * 1000
