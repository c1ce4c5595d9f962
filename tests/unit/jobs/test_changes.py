"""Changes of state with their times."""

from gateway.jobs import changes
from gateway.jobs.states import AttemptState, JobState
from gateway.storage import jobs as job_rows


def test_changes_are_told_oldest_first():
    some = changes.with_change(changes.NONE, "pending", 10, "taken back")
    some = changes.with_change(some, "dispatched", 20, runner="gpu-0")
    assert changes.as_list(some) == [
        {"state": "pending", "at": 10, "reason": "taken back", "runner": None},
        {"state": "dispatched", "at": 20, "reason": None, "runner": "gpu-0"},
    ]


def test_nothing_stored_is_no_change():
    assert changes.as_list(None) == []


def test_a_job_that_goes_to_and_fro_keeps_its_first_changes_and_its_last():
    some = changes.NONE
    for at in range(2_000):
        some = changes.with_change(some, "pending", at, "x" * 2_000)
    told = [change["at"] for change in changes.as_list(some)]
    assert len(some) < 2 * changes.BYTES_MOST
    assert told[: changes.KEPT_FIRST] == list(range(changes.KEPT_FIRST))
    assert told[-1] == 1_999
    assert told == sorted(told)


async def test_every_change_of_a_job_and_of_its_attempt_is_stored_with_its_time(room):
    room.clock.seconds = 5.0
    attempt = await room.held()
    room.registry.started(attempt)
    room.endings.lost(attempt, "gone")
    await room.db.flushed()
    row = await job_rows.load_job(room.db, attempt.job.id)
    (of_attempt,) = await job_rows.load_attempts(room.db, attempt.job.id)
    job = changes.as_list(row.changes)
    assert [change["state"] for change in job][-2:] == [JobState.RUNNING, JobState.PENDING]
    assert job[-1]["reason"] == "gpu-0: gone"
    assert [change["state"] for change in changes.as_list(of_attempt.changes)] == [
        AttemptState.HELD,
        AttemptState.RUNNING,
        AttemptState.LOST,
    ]
    assert all(change["at"] == room.clock.wall_ms() for change in changes.as_list(of_attempt.changes))


async def test_the_end_is_among_the_changes(room):
    job = await room.pending()
    room.endings.failed(job, "NoRunner", "nobody has it")
    await room.endings.settled()
    row = await job_rows.load_job(room.db, job.id)
    assert changes.as_list(row.changes)[-1] == {
        "state": JobState.FAILED,
        "at": room.clock.wall_ms(),
        "reason": "nobody has it",
        "runner": None,
    }
