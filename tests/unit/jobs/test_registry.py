"""Finding live jobs, and changing their states: checked, counted, told, stored."""

import uuid

import pytest

from gateway.jobs.job import Options
from gateway.jobs.states import AttemptState, IllegalTransition, JobState
from gateway.runners.link import link_sid
from gateway.storage import jobs as job_rows


async def stored(room, job_id):
    await room.db.flushed()
    return await job_rows.load_job(room.db, job_id)


async def attempts(room, job_id):
    await room.db.flushed()
    return await job_rows.load_attempts(room.db, job_id)


async def test_a_waiting_job_is_counted_shown_and_stored(room):
    job = await room.pending("a")
    assert room.registry.get("a") is job
    assert room.registry.remaining == 1
    assert [waiting.job_id for waiting in room.registry.waiting] == ["a"]
    assert (await stored(room, "a")).state == "pending"
    assert room.listener.told == [("", "status")]


async def test_a_submission_is_shown_nowhere(room):
    room.registry.add(room.job("a"))
    assert room.registry.remaining == 0
    assert not room.registry.waiting


async def test_a_refused_job_leaves_no_trace(room):
    job = room.job("a")
    room.registry.add(job)
    attempt = room.registry.new_attempt(job, "gpu-0", probe=True)
    await room.registry.store_submission(job, attempt)
    room.registry.turn_attempt(attempt, AttemptState.REFUSED, "no")
    room.registry.turn(job, JobState.REFUSED, "no")
    assert room.registry.get("a") is None
    assert await stored(room, "a") is None
    assert await attempts(room, "a") == []
    assert room.listener.told == []


async def test_an_illegal_change_raises_and_changes_nothing(room):
    job = await room.pending("a")
    with pytest.raises(IllegalTransition):
        room.registry.turn(job, JobState.COMPLETED)
    assert job.state is JobState.PENDING
    assert room.registry.remaining == 1
    attempt = await room.held("b")
    with pytest.raises(IllegalTransition):
        room.registry.turn_attempt(attempt, AttemptState.UNDELIVERED)
    assert attempt.state is AttemptState.HELD


async def test_an_attempt_is_found_by_the_runners_id_while_it_is_open(room):
    attempt = await room.held("a")
    assert room.registry.attempt("gpu-0", attempt.runner_prompt_id) is attempt
    assert room.registry.attempts_on("gpu-0") == [attempt]
    assert room.registry.held("gpu-0") == 1
    room.registry.turn_attempt(attempt, AttemptState.WITHDRAWN)
    assert room.registry.attempt("gpu-0", attempt.runner_prompt_id) is None
    assert room.registry.held("gpu-0") == 0
    (row,) = await attempts(room, "a")
    assert (row.state, row.ended_at) == ("withdrawn", room.clock.wall_ms())


async def test_a_probe_takes_no_slot(room):
    job = room.job("a")
    room.registry.add(job)
    attempt = room.registry.new_attempt(job, "gpu-0", probe=True)
    assert attempt.is_open
    assert room.registry.held("gpu-0") == 0


async def test_begun_twice_is_begun_once(room):
    attempt = await room.held("a")
    room.registry.started(attempt)
    first = attempt.started_at
    room.clock.seconds += 5
    room.registry.started(attempt)
    assert attempt.started_at == first
    assert attempt.job.state is JobState.RUNNING
    assert room.registry.running_on("gpu-0") is attempt
    assert (await stored(room, "a")).started_at == first


async def test_what_has_begun_is_not_deleted_any_more(room):
    attempt = await room.held("a")
    attempt.job.delete_requested = True
    room.registry.started(attempt)
    assert not attempt.job.is_unwanted


async def test_runners_get_a_clients_uuid_as_it_is_and_else_one_of_the_gateways(room):
    chosen = str(uuid.uuid4())
    mine = room.job(chosen)
    other = room.job("my-own-name")
    upper = room.job(chosen.upper())
    ids = [room.registry.new_attempt(job, "gpu-0", probe=False).runner_prompt_id for job in (mine, other, upper)]
    assert ids[0] == chosen
    assert ids[1] != "my-own-name"
    assert ids[2] != chosen.upper()
    assert all(str(uuid.UUID(each)) == each for each in ids)


async def test_an_attempt_after_a_lost_one_has_another_id(room):
    """The lost one may still be alive somewhere; its events must not be taken for the new one's."""
    attempt = await room.held(str(uuid.uuid4()))
    assert attempt.runner_prompt_id == attempt.job.id
    room.registry.turn_attempt(attempt, AttemptState.LOST)
    again = room.registry.new_attempt(attempt.job, "gpu-0", probe=False)
    assert again.ordinal == 2
    assert again.runner_prompt_id != attempt.runner_prompt_id


async def test_an_attempt_after_one_that_was_taken_back_keeps_the_id(room):
    attempt = await room.held(str(uuid.uuid4()))
    room.registry.turn_attempt(attempt, AttemptState.WITHDRAWN)
    assert room.registry.new_attempt(attempt.job, "gpu-0", probe=False).runner_prompt_id == attempt.job.id


async def test_an_answer_with_another_id_is_indexed_and_stored(room):
    attempt = await room.held("a")
    before = attempt.runner_prompt_id
    room.registry.answer_to_another_id(attempt, "theirs")
    assert room.registry.attempt("gpu-0", "theirs") is attempt
    assert room.registry.attempt("gpu-0", before) is None
    assert (await attempts(room, "a"))[0].runner_prompt_id == "theirs"


async def test_shown_is_in_the_order_of_the_queue(room):
    for job_id, number in (("late", 7), ("front", -3), ("early", 2)):
        await room.pending(job_id, number=number)
    assert [job.id for job in room.registry.shown(JobState.PENDING)] == ["front", "early", "late"]


def test_the_sid_at_a_runner_is_the_same_in_every_life():
    assert link_sid("gateway", "gpu-0") == link_sid("gateway", "gpu-0")
    assert len({link_sid("gateway", "gpu-0"), link_sid("gateway", "gpu-1"), link_sid("other", "gpu-0")}) == 3


async def test_a_job_that_runs_alone_waits_for_every_other_of_its_client(room):
    alone = Options(runs_alone=True)
    held = await room.held("a")
    await room.pending("b", options=alone)
    await room.pending("c", options=alone, client_id="other")
    await room.pending("d", options=alone, owner="other")
    assert room.registry.must_wait(room.job(options=alone))
    assert not room.registry.must_wait(room.job())
    assert not room.registry.must_wait(room.job(options=alone, client_id=None))
    assert room.registry.runners_of_lane(room.job(options=alone)) == {"gpu-0"}
    assert [job_id for job_id in "bcd" if room.registry.waiting.is_held_back(job_id)] == ["b"]
    room.registry.turn_attempt(held, AttemptState.LOST)
    assert not room.registry.waiting.is_held_back("b")


async def test_a_probe_holds_no_lane(room):
    alone = Options(runs_alone=True)
    job = room.job("a", options=alone)
    room.registry.add(job)
    attempt = room.registry.new_attempt(job, "gpu-0", probe=True)
    assert not room.registry.must_wait(room.job(options=alone))
    room.registry.turn_attempt(attempt, AttemptState.HELD)
    assert room.registry.must_wait(room.job(options=alone))
