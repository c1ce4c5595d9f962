"""When a runner that works is given its next job: by what is expected of the one that it runs, and whatever becomes of
that."""

import asyncio

import pytest

from gateway.jobs.states import JobState
from gateway.scheduling.ahead import DISPATCHES, LEAST_LEAD
from gateway.scheduling.profile import UNKNOWN

SECONDS = 10.0  # that jobs are known to take


async def settled(room):
    while room.dispatcher._tasks:
        await asyncio.gather(*room.dispatcher._tasks)
    await room.endings.settled()


async def ended(room, attempt):
    room.finish(attempt)
    await room.tell(attempt, "execution_success", timestamp=2)
    await room.tell(attempt, "executing", node=None)
    await settled(room)


@pytest.fixture
async def running(room):
    """A job that has just begun on the only runner."""
    for _ in range(5):
        room.dispatcher.scheduler.estimates.learn(UNKNOWN, frozenset(), SECONDS)
    attempt = await room.running("running")
    room.dispatcher.open()
    return attempt


async def waiting(room, name="next", **more):
    job = await room.pending(name, **more)
    room.dispatcher.schedule()
    await settled(room)
    return job


async def passed(room, seconds):
    room.clock.let_pass(seconds)
    await settled(room)


async def test_the_next_is_given_shortly_before_the_end_and_not_before(room, running):
    job = await waiting(room)
    await passed(room, SECONDS - 2 * LEAST_LEAD)
    assert job.state is JobState.PENDING
    await passed(room, LEAST_LEAD + 0.01)
    assert job.runner == "gpu-0"
    assert running.is_open


async def test_what_comes_to_the_front_meanwhile_goes_first(room, running):
    first = await waiting(room, number=5)
    await passed(room, SECONDS / 2)
    front = await waiting(room, "front", number=-1)
    await passed(room, SECONDS / 2)
    assert (front.runner, first.runner) == ("gpu-0", None)


async def test_a_job_that_ends_early_is_followed_at_once(room, running):
    job = await waiting(room)
    await passed(room, SECONDS / 3)
    await ended(room, running)
    assert job.runner == "gpu-0"


async def test_behind_a_job_that_overruns_the_slot_stays_open(room, running):
    await passed(room, 3 * SECONDS)
    job = await waiting(room)
    assert job.runner == "gpu-0"


async def test_a_job_shorter_than_the_lead_is_followed_at_once(room):
    for _ in range(5):
        room.dispatcher.scheduler.estimates.learn(UNKNOWN, frozenset(), LEAST_LEAD / 2)
    await room.running("running")
    room.dispatcher.open()
    job = await waiting(room)
    assert job.runner == "gpu-0"


async def test_where_nothing_is_known_it_is_given_at_once(room):
    await room.running("running")
    room.dispatcher.open()
    job = await waiting(room)
    assert job.runner == "gpu-0"


async def test_a_lead_is_what_dispatches_take(room, running):
    room.dispatcher.scheduler.openings.dispatched("gpu-0", 1.0)
    await room.tell(running, "execution_start", timestamp=1)
    second = await waiting(room)
    await passed(room, SECONDS - DISPATCHES - 0.1)
    assert second.state is JobState.PENDING
    await passed(room, 0.2)
    assert second.runner == "gpu-0"


async def test_nothing_is_timed_while_nobody_waits(room, running):
    job = await waiting(room)
    assert len(room.clock.alarms) == 1
    room.endings.dropped(job, "cancelled")
    room.dispatcher.schedule()
    assert room.clock.alarms == []


async def test_a_wall_clock_that_is_set_back_costs_no_more_than_a_dispatch(room, running):
    room.clock.set_by_seconds = -3_600
    job = await waiting(room)
    await passed(room, SECONDS)
    assert job.state is JobState.PENDING
    await ended(room, running)
    assert job.runner == "gpu-0"
