from dataclasses import replace

import pytest

from gateway.storage.database import Conflict, Database
from gateway.storage.jobs import (
    AttemptRow,
    FinishedRow,
    JobRow,
    delete_job,
    delete_refused,
    hide_all,
    hide_jobs,
    highest_seq,
    insert_attempt,
    insert_job,
    load_attempts,
    load_attempts_of_unfinished,
    load_finished_rows,
    load_job,
    load_unfinished,
    owner_of,
    update_attempt,
    update_job,
)


@pytest.fixture
async def db(tmp_path):
    async with await Database.open(f"sqlite:///{tmp_path}/gateway.db", synchronous="normal") as database:
        yield database


def job(seq: int, **columns) -> JobRow:
    row = JobRow(
        id=f"job-{seq}",
        seq=seq,
        number=seq + 0.5,
        owner="",
        client_id=None,
        state="pending",
        prompt=b'{"1": {}}',
        extra_data=b"{}",
        request=b'{"front": true}',
        outputs_to_execute=b'["1"]',
        created_at=1_000 + seq,
    )
    return replace(row, **columns)


def ids(rows) -> list[str]:
    return [row.id for row in rows]


async def test_a_job_comes_back_as_it_went(db):
    row = job(1, client_id="tab", workflow_id="w", reason="ü", entry=b"{}", summary=b"[]", started_at=1, ended_at=2)
    await db.write(insert_job(row))
    assert await load_job(db, "job-1") == row
    assert await load_job(db, "job-2") is None
    assert await owner_of(db, "job-1") == ""
    assert await owner_of(db, "job-2") is None


async def test_an_id_or_seq_is_taken_once(db):
    await db.write(insert_job(job(1)))
    with pytest.raises(Conflict):
        await db.write(insert_job(job(2, id="job-1")))
    with pytest.raises(Conflict):
        await db.write(insert_job(job(1, id="job-2")))


async def test_highest_seq(db):
    assert await highest_seq(db) == 0
    await db.write(insert_job(job(7)), insert_job(job(3)))
    assert await highest_seq(db) == 7


async def test_update_sets_the_named_columns_only(db):
    await db.write(insert_job(job(1)), insert_job(job(2)))
    await db.write(update_job("job-1", state="running", runner="a"), update_job("job-2", runner="b", state="failed"))
    assert await load_job(db, "job-1") == job(1, state="running", runner="a")
    assert await load_job(db, "job-2") == job(2, state="failed", runner="b")
    with pytest.raises(KeyError):
        update_job("job-1", colour="blue")


async def test_attempts(db):
    first = AttemptRow("job-1", 1, "a", "uuid-1", "dispatched", 10)
    second = AttemptRow("job-1", 2, "b", "uuid-2", "dispatched", 20)
    await db.write(insert_job(job(1)), insert_attempt(second), insert_attempt(first))
    await db.write(update_attempt("job-1", 1, state="lost", ended_at=15, reason="gone"))
    assert await load_attempts(db, "job-1") == [
        replace(first, state="lost", ended_at=15, reason="gone"),
        second,
    ]
    with pytest.raises(Conflict):
        await db.write(insert_attempt(replace(first, job_id="job-2")))
    await db.write(delete_job("job-1"))
    assert await load_attempts(db, "job-1") == []


async def test_attempts_of_unfinished_jobs_are_by_job_and_in_their_order(db):
    first, second = (AttemptRow("job-1", ordinal, "a", str(ordinal), "lost", ordinal) for ordinal in (1, 2))
    other, ended = (replace(first, job_id=job_id) for job_id in ("job-2", "job-3"))
    await db.write(insert_job(job(1)), insert_job(job(2)), insert_job(job(3, ended_at=5)), insert_job(job(4)))
    await db.write(*map(insert_attempt, (second, other, ended, first)))
    assert await load_attempts_of_unfinished(db) == {"job-1": [first, second], "job-2": [other]}


async def test_unfinished_are_in_order_of_acceptance(db):
    await db.write(insert_job(job(3)), insert_job(job(1)), insert_job(job(2, ended_at=5)))
    assert await load_unfinished(db) == [job(1), job(3)]


@pytest.fixture
async def history(db):
    """Jobs 1 to 6 that ended in the order 3 1 2 5 4, job 6 unfinished; odd ones are anna's."""
    for seq, ended_at in ((1, 20), (2, 30), (3, 10), (4, 40), (5, 30), (6, None)):
        owner = "anna" if seq % 2 else "bert"
        db.write_behind(insert_job(job(seq, owner=owner, ended_at=ended_at, summary=b"{}")))
    await db.flushed()


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ({}, [3, 1, 2, 5, 4]),
        ({"owner": "anna"}, [3, 1, 5]),
        ({"owner": ""}, []),
        ({"newest": 2}, [5, 4]),
        ({"newest": 0}, []),
        ({"newest": 99}, [3, 1, 2, 5, 4]),
        ({"owner": "anna", "newest": 2}, [1, 5]),
        ({"offset": 1, "limit": 2}, [1, 2]),
        ({"offset": 3}, [5, 4]),
        ({"limit": 0}, []),
        ({"offset": 99, "limit": 1}, []),
    ],
)
async def test_finished_are_in_order_of_their_end(db, page, expected):
    expected = [f"job-{seq}" for seq in expected]
    assert ids(await load_finished_rows(db, **page)) == expected


@pytest.mark.usefixtures("history")
async def test_a_listing_needs_no_graph(db):
    (row,) = await load_finished_rows(db, newest=1)
    assert row == FinishedRow("job-4", 4, 4.5, "bert", "pending", 1_004, None, 40, None, b"{}")


@pytest.mark.usefixtures("history")
async def test_hidden_jobs_are_out_of_the_history_only(db):
    await db.write(hide_jobs(["job-1", "job-6", "unknown"]))
    assert ids(await load_finished_rows(db)) == ["job-3", "job-2", "job-5", "job-4"]
    assert ids(await load_unfinished(db)) == ["job-6"]
    assert (await load_job(db, "job-1")).hidden
    assert not (await load_job(db, "job-6")).hidden
    assert ids(await load_finished_rows(db, owner="anna")) == ["job-3", "job-5"]


@pytest.mark.usefixtures("history")
async def test_hide_all(db):
    await db.write(hide_all("anna"))
    assert ids(await load_finished_rows(db)) == ["job-2", "job-4"]
    await db.write(hide_all(None))
    assert await load_finished_rows(db) == []
    assert not (await load_job(db, "job-6")).hidden


@pytest.mark.usefixtures("history")
async def test_hiding_in_one_batch(db):
    db.write_behind(hide_jobs(["job-1"]))
    db.write_behind(hide_jobs(["job-2", "job-3"]))
    await db.flushed()
    assert len(await load_finished_rows(db)) == 2


async def test_a_refused_job_takes_no_other_of_its_id_with_it(db):
    await db.write(insert_job(job(1)))
    await db.write(delete_refused("job-1", seq=2))
    assert await load_job(db, "job-1") is not None
    await db.write(delete_refused("job-1", seq=1))
    assert await load_job(db, "job-1") is None
