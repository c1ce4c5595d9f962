"""The wall clock is set back and forth by an hour: nothing changes its order, and nothing ends that is not due."""

import pytest
from support.room import SECRETS

from gateway.jobs.recovery import recover
from gateway.jobs.registry import Registry
from gateway.jobs.states import AttemptState, JobState

HOUR = 3600.0
JUMPS = pytest.mark.parametrize("jump", [-HOUR, HOUR])


async def test_waiting_jobs_keep_their_order_also_through_a_restart(room):
    for number, jump in enumerate((0.0, -HOUR, HOUR, -2 * HOUR)):
        room.clock.set_by_seconds = jump
        await room.pending(f"job {number}", number=number)
    front = await room.pending("front", number=-9)
    order = [front.id, *(f"job {number}" for number in range(4))]
    assert [waiting.job_id for waiting in room.registry.waiting] == order
    assert [job.id for job in room.registry.shown(JobState.PENDING)] == order

    await room.db.flushed()
    again = Registry(room.db, room.clock, room.listener)
    await recover(room.db, again, SECRETS)
    assert [waiting.job_id for waiting in again.waiting] == order


@JUMPS
async def test_ends_are_listed_in_the_order_in_which_they_came(room, jump):
    for job_id in ("a", "b", "c"):
        room.endings.failed(await room.pending(job_id), "NoRunner", "nobody has it")
        room.clock.set_by_seconds += jump
    await room.endings.settled()
    await room.history.load()
    assert [row["id"] for row in room.history.rows(None)] == ["a", "b", "c"]


@JUMPS
async def test_a_job_that_runs_is_not_taken_for_stuck(room, jump):
    attempt = await room.running()
    await room.reconciler.reconcile(room.runner)
    room.clock.set_by_seconds = jump
    await room.reconciler.reconcile(room.runner)
    assert attempt.state is AttemptState.RUNNING
    assert attempt.job.state is JobState.RUNNING


@JUMPS
async def test_a_link_that_is_behind_is_not_taken_for_deaf(room, jump):
    attempt = await room.held()
    room.runner.running, room.runner.pending = room.runner.pending, []
    await room.reconciler.reconcile(room.runner)
    room.clock.set_by_seconds = jump
    assert not room.endings.misses_start(attempt, link_stood=True)
