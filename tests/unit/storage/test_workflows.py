"""Where workflows stand by their jobs' rows."""

import pytest

from gateway.storage import jobs as job_rows
from gateway.storage import workflows as rows
from gateway.storage.database import Database
from gateway.storage.errors import Conflict
from gateway.storage.jobs import JobRow
from gateway.storage.workflows import GONE, UNSUBMITTED, WorkflowRow


@pytest.fixture
async def db(tmp_path):
    async with await Database.open(f"sqlite:///{tmp_path / 'gateway.db'}", synchronous="normal") as db:
        yield db


def workflow(id_, seq=1, owner="", **more):
    parts = {"name": f"run {seq}", "tags": b"[]", "terms": b"{}", "seed": 7, "params": b"[]", "graph": b"{}"}
    return WorkflowRow(id=id_, seq=seq, owner=owner, created_at=1_000 + seq, **parts, **more)


def job(id_, state, seq=1, owner="", **more):
    return JobRow(id_, seq, float(seq), owner, None, state, b"{}", b"{}", b"{}", b"[]", 1_000, **more)


async def standing(db, id_="a"):
    seen = await rows.see_workflow(db, id_)
    return seen.standing


async def test_before_it_has_a_job_it_stands_by_what_came_of_its_submission(db):
    await db.write(rows.insert_workflow(workflow("a")))
    assert await standing(db) == UNSUBMITTED
    await db.write(rows.answer_workflow("a", 5, "invalid", b'["t","m","",{}]'))
    assert await standing(db) == "invalid"
    seen = await rows.see_workflow(db, "a")
    assert (seen.row.answered_at, seen.row.refusal) == (5, b'["t","m","",{}]')


@pytest.mark.parametrize("state", ["submitting", "pending", "running", "completed", "failed"])
async def test_with_a_job_it_stands_where_that_does(db, state):
    await db.write(rows.insert_workflow(workflow("a")), job_rows.insert_job(job("a", state, runner="gpu-0")))
    assert await standing(db) == state
    await db.write(job_rows.update_job("a", state="cancelled", ended_at=9, started_at=8, summary=b"{}"))
    seen = await rows.see_workflow(db, "a")
    assert (seen.standing, seen.started_at, seen.ended_at, seen.runner, seen.summary) == (
        "cancelled",
        8,
        9,
        "gpu-0",
        b"{}",
    )
    assert seen.head == (await rows.list_workflows(db, owner=None, standings=None, offset=0, limit=9))[0][0]


async def test_a_job_of_another_owner_is_not_its_own(db):
    await db.write(rows.insert_workflow(workflow("a", owner="ann")))
    await db.write(job_rows.insert_job(job("a", "running", owner="bob")))
    assert await standing(db) == UNSUBMITTED


async def test_a_job_that_the_database_has_no_more_is_told_as_gone_and_not_run_again(db):
    await db.write(rows.insert_workflow(workflow("a")), job_rows.insert_job(job("a", "completed")))
    await db.write(rows.answer_workflow("a", 5))
    await db.write(job_rows.delete_job("a"))
    assert await standing(db) == GONE
    assert await rows.load_unanswered(db) == []


async def test_an_id_is_taken_once(db):
    await db.write(rows.insert_workflow(workflow("a")))
    with pytest.raises(Conflict):
        await db.write(rows.insert_workflow(workflow("a", seq=2)))
    with pytest.raises(Conflict):
        await db.write(rows.insert_workflow(workflow("b", seq=1)))


async def test_lists_are_by_owner_and_standing_newest_first(db):
    for seq, (id_, owner) in enumerate([("a", "ann"), ("b", "bob"), ("c", "ann"), ("d", "ann")], start=1):
        await db.write(rows.insert_workflow(workflow(id_, seq, owner)))
    await db.write(job_rows.insert_job(job("c", "running", 1, "ann")))

    async def listed(owner, standings=None, offset=0, limit=10):
        heads, total = await rows.list_workflows(db, owner=owner, standings=standings, offset=offset, limit=limit)
        return [head.id for head in heads], total

    assert await listed("ann") == (["d", "c", "a"], 3)
    assert await listed(None) == (["d", "c", "b", "a"], 4)
    assert await listed("ann", offset=1, limit=1) == (["c"], 3)
    assert await listed("ann", ["running"]) == (["c"], 1)
    assert await listed("ann", [UNSUBMITTED]) == (["d", "a"], 2)
    assert await listed("ann", []) == ([], 0)
    assert await rows.highest_workflow_seq(db) == 4


async def test_the_unanswered_are_told_in_their_order_with_whether_they_have_a_job(db):
    for seq, id_ in enumerate("abc", start=1):
        await db.write(rows.insert_workflow(workflow(id_, seq, "ann")))
    await db.write(job_rows.insert_job(job("b", "submitting", 1, "ann")), rows.answer_workflow("c", 5))
    assert await rows.load_unanswered(db) == [("a", "ann", False), ("b", "ann", True)]


async def test_deleted_it_is_gone_and_its_job_stays(db):
    await db.write(rows.insert_workflow(workflow("a")), job_rows.insert_job(job("a", "completed")))
    assert await rows.workflow_exists(db, "a")
    await db.write(rows.delete_workflow("a"))
    assert not await rows.workflow_exists(db, "a")
    assert await rows.see_workflow(db, "a") is None
    assert await rows.load_workflow(db, "a") is None
    assert await job_rows.load_job(db, "a") is not None
    await db.write(rows.answer_workflow("a", 5))


async def test_the_newest_on_a_runner(db):
    for seq, id_ in enumerate("abc", start=1):
        await db.write(rows.insert_workflow(workflow(id_, seq)))
        await db.write(job_rows.insert_job(job(id_, "completed", seq, runner="gpu-1" if id_ == "b" else "gpu-0")))
    assert [head.id for head in await rows.recent_on_runner(db, "gpu-0", owner=None, limit=10)] == ["c", "a"]
    assert [head.id for head in await rows.recent_on_runner(db, "gpu-0", owner=None, limit=1)] == ["c"]
    assert await rows.recent_on_runner(db, "gpu-0", owner="ann", limit=1) == []
