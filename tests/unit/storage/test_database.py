import asyncio
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from structlog.testing import capture_logs

from gateway.storage import schema
from gateway.storage.database import Conflict, Database, DatabaseUnavailable, Operation, StorageError
from gateway.storage.meta import get_meta, set_meta
from gateway.storage.writer import BATCH_MAX


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "gateway.db"


@pytest.fixture
async def db(path):
    async with await Database.open(f"sqlite:///{path}", busy_timeout=20) as database:
        yield database


def grow_limit(pages: int) -> Operation:
    """A disk that is full once the database has that many pages."""
    return Operation(sa.text(f"PRAGMA max_page_count = {pages}"))


async def keys(db) -> list[str]:
    return [row[0] for row in await db.read(sa.select(schema.meta.c.key).order_by(schema.meta.c.key))]


async def test_creates_the_folder_and_keeps_what_was_written(path):
    async with await Database.open(f"sqlite:///{path}") as db:
        await db.write(set_meta("id", "one"))
        await db.write(set_meta("id", "two"))
    async with await Database.open(f"sqlite:///{path}") as db:
        assert await get_meta(db, "id") == "two"
        assert await get_meta(db, "other") is None


@pytest.mark.parametrize(("option", "value"), [("full", 2), ("normal", 1)])
async def test_pragmas(path, option, value):
    async with await Database.open(f"sqlite:///{path}", synchronous=option, busy_timeout=123) as db:
        connection = db._engine.connect()
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
        }
        connection.close()
    assert pragmas == {"journal_mode": "wal", "synchronous": value, "busy_timeout": 123, "foreign_keys": 1}


async def test_the_migrated_schema_is_the_schema(path):
    async with await Database.open(f"sqlite:///{path}"):
        pass
    with sa.create_engine(f"sqlite:///{path}").connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []


async def test_calls_are_applied_in_their_order_and_a_group_is_atomic(db):
    writes = [db.write(set_meta("a", str(n)), set_meta(f"b{n}", "x")) for n in range(50)]
    await asyncio.gather(*writes)
    assert await get_meta(db, "a") == "49"
    assert len(await keys(db)) == 51


async def test_only_the_guilty_group_fails(db):
    insert = sa.insert(schema.meta)
    taken = db.write(Operation(insert, {"key": "taken", "value": ""}))
    guilty = db.write(
        Operation(insert, {"key": "alone", "value": ""}), Operation(insert, {"key": "taken", "value": ""})
    )
    impossible = db.write(Operation(insert, {"key": "object", "value": object()}))
    innocent = db.write(Operation(insert, {"key": "innocent", "value": ""}))
    results = await asyncio.gather(taken, guilty, impossible, innocent, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), Conflict, StorageError, type(None)]
    assert await keys(db) == ["innocent", "taken"]


async def test_a_cancelled_caller_takes_nothing_back(db):
    waiting = [asyncio.ensure_future(asyncio.wait_for(db.write(set_meta(str(n), "")), 10)) for n in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await db.write(set_meta("after", ""))
    assert await keys(db) == ["0", "1", "2", "after"]


async def test_close_flushes_and_ends_writing(path):
    db = await Database.open(f"sqlite:///{path}")
    for n in range(BATCH_MAX + 10):
        db.write_behind(set_meta(f"{n:05}", ""))
    last = db.write(set_meta("last", ""))
    await db.close()
    assert last.done()
    with pytest.raises(StorageError, match="closed"):
        await db.write(set_meta("late", ""))
    async with await Database.open(f"sqlite:///{path}") as again:
        assert len(await keys(again)) == BATCH_MAX + 11


async def test_flushed_waits_for_what_was_queued_before(db):
    db.write_behind(set_meta("a", ""))
    await db.flushed()
    assert await keys(db) == ["a"]


async def test_what_nobody_waits_for_goes_with_what_somebody_waits_for(db):
    batches = []
    db.watch_commits(lambda operations, _seconds: batches.append(operations))
    db.write_behind(set_meta("a", "1"))
    await asyncio.sleep(0)  # the writer has had its turn
    db.write_behind(set_meta("b", "1"))
    await db.write(set_meta("c", "1"))
    assert await keys(db) == ["a", "b", "c"]
    assert batches == [3]


async def test_what_nobody_waits_for_is_written_though_nobody_comes(db):
    written = asyncio.get_running_loop().create_future()
    db.watch_commits(lambda operations, _seconds: written.set_result(operations))
    db.write_behind(set_meta("a", "1"))
    assert await asyncio.wait_for(written, 10) == 1
    assert await keys(db) == ["a"]


async def test_a_group_larger_than_a_batch_is_written_whole(db):
    await db.write(*(set_meta(str(n), "") for n in range(BATCH_MAX + 1)))
    assert len(await keys(db)) == BATCH_MAX + 1


async def test_full_disk_is_told_and_recovers(db):
    await db.write(grow_limit(1))
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable, match=r"gateway\.db: the disk is full"):
            await db.write(set_meta("big", "x" * 100_000))
    await db.write(grow_limit(10_000))
    await db.write(set_meta("big", "x" * 100_000))
    assert await keys(db) == ["big"]


async def test_what_nobody_waits_for_outlives_a_full_disk_in_its_place(db):
    await db.write(grow_limit(1))
    db.write_behind(set_meta("state", "1" * 100_000))
    with pytest.raises(DatabaseUnavailable):
        await db.flushed()  # in the same batch
    with pytest.raises(DatabaseUnavailable):
        await db.write(set_meta("state", "2"))
    # The limit can't be lifted by a write that has to wait for the one kept before it.
    await asyncio.get_running_loop().run_in_executor(
        db._writer._thread, lambda: db._writer._connection.exec_driver_sql("PRAGMA max_page_count = 10000").close()
    )
    await db.write(set_meta("after", ""))
    assert await keys(db) == ["after", "state"]
    assert (await get_meta(db, "state"))[0] == "1"


async def test_what_nobody_waits_for_is_tried_again_without_a_new_write(db, monkeypatch):
    monkeypatch.setattr("gateway.storage.writer.RETRY_SECONDS", 0.01)
    await db.write(grow_limit(1))
    db.write_behind(grow_limit(10_000), set_meta("state", "1" * 100_000))
    db.write_behind(set_meta("after", ""))
    while await keys(db) != ["after", "state"]:
        pass


async def test_what_nobody_waits_for_is_reported_when_it_fails(db):
    db.write_behind(Operation(sa.insert(schema.meta), {"key": "a", "value": None}))
    with capture_logs() as logs:
        await db.flushed()
    assert [(entry["event"], "NOT NULL" in entry["error"]) for entry in logs] == [("write failed", True)]


async def test_a_locked_database_is_told_and_recovers(db, path):
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnavailable, match="lock"):
        await db.write(set_meta("a", ""))
    other.execute("ROLLBACK")
    other.close()
    await db.write(set_meta("a", ""))


async def test_readers_do_not_wait_for_another_writer(db, path):
    await db.write(set_meta("a", ""))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert await keys(db) == ["a"]
    other.close()


async def test_reading_cannot_write(db):
    with pytest.raises(DatabaseUnavailable, match="read-only"):
        await db.read(sa.insert(schema.meta).values(key="a", value=""))


async def test_two_gateways_cannot_share_a_database(db, path):
    with pytest.raises(StorageError, match="in use by another gateway"):
        await Database.open(f"sqlite:///{path}")
    await db.close()
    await (await Database.open(f"sqlite:///{path}")).close()


@pytest.mark.parametrize("content", [b"not a database " * 1000, b"SQLite format 3\x00" + b"\xff" * 8000])
async def test_a_file_that_is_no_database_is_refused_and_kept(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    for _ in range(2):  # the lock is free again after a refusal
        with pytest.raises(StorageError, match=r"gateway\.db: the file is .*move it away"):
            await Database.open(f"sqlite:///{path}")
    assert path.read_bytes() == content


async def test_a_damaged_database_is_refused_and_kept(path):
    async with await Database.open(f"sqlite:///{path}") as db:
        await db.write(*(set_meta(str(n), "x" * 500) for n in range(100)))
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    path.write_bytes(content)
    with pytest.raises(StorageError, match="damaged"):
        await Database.open(f"sqlite:///{path}")
    assert path.read_bytes() == content


async def test_a_newer_schema_is_refused_and_kept(path):
    async with await Database.open(f"sqlite:///{path}"):
        pass
    with sqlite3.connect(path) as other:
        other.execute("UPDATE alembic_version SET version_num = '9999'")
    other.close()
    content = path.read_bytes()
    with pytest.raises(StorageError, match=r"gateway\.db: its schema '9999' is unknown.*Install"):
        await Database.open(f"sqlite:///{path}")
    assert path.read_bytes() == content


async def test_another_programs_database_is_refused_and_kept(path):
    path.parent.mkdir()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (id)")
    other.close()
    content = path.read_bytes()
    with pytest.raises(StorageError, match="another program"):
        await Database.open(f"sqlite:///{path}")
    assert path.read_bytes() == content


async def test_a_failed_migration_leaves_nothing(path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("alembic.op.create_index", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await Database.open(f"sqlite:///{path}")
    async with await Database.open(f"sqlite:///{path}") as db:
        assert await keys(db) == []


@pytest.mark.parametrize("url", ["nonsense", "mysql://x/y", "sqlite://", "sqlite:///:memory:"])
async def test_urls_that_name_no_file(url):
    with pytest.raises(StorageError):
        await Database.open(url)


async def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseUnavailable, match="folder"):
        await Database.open(f"sqlite:///{tmp_path}/file/gateway.db")


async def test_an_unknown_synchronous(path):
    with pytest.raises(StorageError, match="synchronous"):
        await Database.open(f"sqlite:///{path}", synchronous="off")
