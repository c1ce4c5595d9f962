from dataclasses import replace

import pytest

from gateway.storage.database import Database
from gateway.storage.files import (
    OutputRow,
    UploadRow,
    delete_upload,
    load_outputs,
    load_uploads,
    upsert_output,
    upsert_upload,
)

OUTPUT = OutputRow("output", "", "a_00002_.png", "east", "", "a_00001_.png", "job-1", 10)
UPLOAD = UploadRow("", "input", "pasted", "a.png", "ab" * 32, 5, 10, 20)


@pytest.fixture
async def db(tmp_path):
    async with await Database.open(f"sqlite:///{tmp_path}/gateway.db", synchronous="normal") as database:
        yield database


async def test_an_output_has_one_public_name(db):
    archived = replace(OUTPUT, content_hash="ab" * 32, size=3, lost=True, generation=2)
    await db.write(upsert_output(OUTPUT), upsert_output(archived))
    assert await load_outputs(db) == [archived]


async def test_outputs_are_loaded_oldest_first(db):
    rows = [replace(OUTPUT, filename=str(n), created_at=n, generation=g) for n, g in ((1, 1), (2, 1), (2, 2))]
    rows[2].filename = "a"
    await db.write(*(upsert_output(row) for row in reversed(rows)))
    assert await load_outputs(db) == rows


async def test_uploads(db):
    other = replace(UPLOAD, owner="anna", type="temp")
    newer = replace(UPLOAD, content_hash="cd" * 32, modified_at=30)
    await db.write(upsert_upload(UPLOAD), upsert_upload(other), upsert_upload(newer))
    assert await load_uploads(db) == [newer, other]
    assert await load_uploads(db, "temp") == [other]
    assert await load_uploads(db, "input", "anna") == []
    await db.write(delete_upload("", "input", "pasted", "a.png"))
    assert await load_uploads(db) == [other]


async def test_two_owners_outputs_may_have_one_name(db):
    annas = replace(OUTPUT, owner="anna", job_id="job-2", created_at=11)
    await db.write(upsert_output(OUTPUT), upsert_output(annas))
    assert await load_outputs(db) == [OUTPUT, annas]
