"""Jobs as rows and back."""

import pytest
from support.room import SECRETS

from gateway.jobs import rows
from gateway.jobs.job import Options
from gateway.jobs.recovery import recover
from gateway.jobs.registry import Registry
from gateway.jobs.states import AttemptState, JobState
from gateway.storage import jobs as job_rows


async def again(room):
    """The registry of the next life of the gateway."""
    await room.db.flushed()
    registry = Registry(room.db, room.clock, room.listener)
    await recover(room.db, registry, SECRETS)
    return registry


async def test_a_job_comes_back_as_it_was_without_its_secrets(room):
    job = room.job(
        "a",
        number=-4,
        extra_data={"extra_pnginfo": {"workflow": {"id": "w"}}},
        secrets={"api_key_comfy_org": "s3cret"},
        options=Options(["9"], ("sdxl",), runs_alone=True),
    )
    row = rows.row_of(job)
    assert b"s3cret" not in b"".join(value for value in vars_of(row) if isinstance(value, bytes))
    assert row.workflow_id == "w"
    found = rows.job_of(row, [])
    for name in ("id", "seq", "number", "owner", "client_id", "prompt", "extra_data", "options", "created_at"):
        assert getattr(found, name) == getattr(job, name), name
    assert type(found.number) is int
    assert found.secrets == {}
    assert found.needs.tags == {"sdxl"}


async def test_an_explicit_number_stays_a_fraction(room):
    found = rows.job_of(rows.row_of(room.job(number=2.5)), [])
    assert found.number == 2.5
    whole = rows.job_of(rows.row_of(room.job(number=3.0)), [])
    assert isinstance(whole.number, float)


async def test_recovered_jobs_stand_where_they_stood(room):
    await room.pending("waits")
    held = await room.held("held")
    running = await room.running("runs")
    posting = room.job("posting")
    room.registry.add(posting)
    await room.registry.store_submission(posting, room.registry.new_attempt(posting, "gpu-0", probe=True))
    unseen = room.job("unseen")
    room.registry.add(unseen)
    await room.registry.store_submission(unseen, None)

    registry = await again(room)
    assert {job.id: job.state for job in registry} == {
        "waits": JobState.PENDING,
        "held": JobState.DISPATCHED,
        "runs": JobState.RUNNING,
        "posting": JobState.DISPATCHED,
        "unseen": JobState.PENDING,
    }
    assert registry.remaining == 5
    assert [waiting.job_id for waiting in registry.waiting] == ["waits", "unseen"]
    assert registry.attempt("gpu-0", held.runner_prompt_id).state is AttemptState.HELD
    assert registry.attempt("gpu-0", running.runner_prompt_id).state is AttemptState.RUNNING
    assert registry.get("posting").attempt.state is AttemptState.IN_DOUBT
    accepted = {job.id for job in registry if job.was_accepted}
    assert accepted == {"waits", "held", "runs", "posting"}, "the 200 may have been sent before more was stored"
    await room.db.flushed()
    stored = {row.id: row.state for row in await job_rows.load_unfinished(room.db)}
    assert stored["posting"] == JobState.DISPATCHED, "also when the gateway is killed once more"


@pytest.mark.parametrize("state", [AttemptState.UNDELIVERED, AttemptState.REFUSED])
async def test_a_job_whose_attempts_came_to_nothing_was_not_accepted(room, state):
    job = room.job("a")
    room.registry.add(job)
    attempt = room.registry.new_attempt(job, "gpu-0", probe=False)
    await room.registry.store_submission(job, attempt)
    room.registry.turn_attempt(attempt, state)
    (found,) = await again(room)
    assert not found.was_accepted


async def test_ended_jobs_do_not_come_back(room):
    room.endings.dropped(await room.pending("a"), "deleted")
    assert list(await again(room)) == []


async def test_new_jobs_come_behind_those_that_waited_through_a_restart(room):
    """The counter also advances with prompts that were refused, so it can be far ahead of the rows."""
    await room.pending("counted", number=40)
    await room.pending("front", number=-41)
    await room.pending("explicit", number=9000.0)
    registry = await again(room)
    assert registry.next_number() == 42
    assert registry.next_job_seq() == 4


async def test_the_counter_of_an_empty_database_starts_at_zero(room):
    registry = await again(room)
    assert registry.next_number() == 0
    assert await job_rows.highest_seq(room.db) == 0


def vars_of(row):
    return [getattr(row, name) for name in row.__dataclass_fields__]
