"""What a runner says against what the gateway thinks of it."""

import pytest
from support.room import PlayedRunner, jobs_room

from gateway.jobs.states import AttemptState, JobState
from gateway.runners.errors import RunnerUnreachable


async def test_one_that_has_begun_runs(room):
    attempt = await room.held()
    room.runner.running, room.runner.pending = room.runner.pending, []
    await room.reconciler.reconcile(room.runner)
    assert attempt.job.state is JobState.RUNNING


async def test_one_that_waits_there_is_held(room):
    attempt = await room.held()
    await room.reconciler.reconcile(room.runner)
    assert attempt.state is AttemptState.HELD


async def test_one_in_doubt_that_waits_there_is_held(room):
    job = await room.pending()
    attempt = room.registry.new_attempt(job, "gpu-0", probe=False)
    room.registry.turn(job, JobState.DISPATCHED)
    await room.registry.store_attempt(attempt)
    room.registry.turn_attempt(attempt, AttemptState.IN_DOUBT)
    room.runner.pending.append(attempt.runner_prompt_id)
    await room.reconciler.reconcile(room.runner)
    assert attempt.state is AttemptState.HELD


async def test_one_without_a_trace_is_lost_and_waits_again(room):
    attempt = await room.running()
    room.runner.running.clear()
    await room.reconciler.reconcile(room.runner)
    assert attempt.state is AttemptState.LOST
    assert attempt.job.state is JobState.PENDING


async def test_one_whose_end_was_missed_ends_with_the_runners_history(room):
    attempt = await room.running()
    room.finish(attempt, outputs={"9": {"text": ["hello"]}})
    room.runner.boot += 1  # the link was opened anew: its frames are lost
    await room.reconciler.reconcile(room.runner)
    assert attempt.job.state is JobState.COMPLETED
    assert room.listener.types() == ["execution_start", "executed", "execution_success", "done"]


@pytest.mark.parametrize("probe", [True, False])
async def test_a_post_under_way_is_not_judged(room, probe):
    job = room.job("a")
    room.registry.add(job)
    attempt = room.registry.new_attempt(job, "gpu-0", probe=probe)
    await room.registry.store_submission(job, attempt)
    await room.reconciler.reconcile(room.runner)
    assert attempt.state in (AttemptState.POSTING, AttemptState.PROBING)


async def test_a_runner_that_does_not_answer_changes_nothing(room):
    attempt = await room.running()
    room.runner.failure = RunnerUnreachable("gpu-0", "refused")
    with pytest.raises(RunnerUnreachable):
        await room.reconciler.reconcile(room.runner)
    assert attempt.job.state is JobState.RUNNING


async def test_an_orphan_is_removed_when_it_is_seen_twice(room):
    room.runner.pending, room.runner.running = ["orphan"], ["begun"]
    await room.reconciler.reconcile(room.runner)
    assert room.runner.did("/queue") == []
    await room.reconciler.check(room.runner)
    assert {tuple(body["delete"]) for body in room.runner.did("/queue")} == {("orphan",), ("begun",)}
    assert {body["prompt_id"] for body in room.runner.did("/interrupt")} == {"orphan", "begun"}


async def test_a_runner_that_goes_on_showing_an_orphan_is_told_once(room):
    room.runner.running = ["begun"]
    for _ in range(5):
        await room.reconciler.reconcile(room.runner)
    assert len(room.runner.did("/interrupt")) == 1
    room.runner.boot += 1  # it may have forgotten what it was told
    await room.reconciler.reconcile(room.runner)
    assert len(room.runner.did("/interrupt")) == 2


async def test_an_orphan_that_begins_after_all_is_interrupted(room):
    for _ in range(3):
        room.runner.pending = ["orphan"]  # taken by its worker before the deletion came
        await room.reconciler.reconcile(room.runner)
    room.runner.pending, room.runner.running = [], ["orphan"]
    await room.reconciler.reconcile(room.runner)
    assert [body["prompt_id"] for body in room.runner.did("/interrupt")] == ["orphan", "orphan"]


async def test_what_others_have_submitted_is_left_alone(room):
    room.runner.pending = ["of-a-person"]
    room.runner.clients_of = {"of-a-person": "somebody"}
    for _ in range(3):
        await room.reconciler.reconcile(room.runner)
    assert room.runner.did("/queue") == []
    assert room.runner.did("/interrupt") == []


async def test_a_check_without_jobs_asks_nothing(room):
    await room.reconciler.check(room.runner)
    assert room.runner.calls == []


async def test_runners_are_reconciled_apart(tmp_path):
    async with jobs_room(tmp_path, PlayedRunner("gpu-0"), PlayedRunner("gpu-1")) as room:
        here, there = await room.running("a", "gpu-0"), await room.running("b", "gpu-1")
        room.pool["gpu-0"].running.clear()
        await room.reconciler.reconcile(room.pool["gpu-0"])
        assert here.job.state is JobState.PENDING
        assert there.job.state is JobState.RUNNING
