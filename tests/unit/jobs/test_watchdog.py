"""A runner whose worker is dead behind a healthy HTTP server: how it is told, and what becomes of its jobs."""

import asyncio

from support.room import STUCK_SECONDS, PlayedRunner, StandingClock, jobs_room

from gateway.jobs.states import AttemptState, JobState
from gateway.jobs.watchdog import Watchdog


def watching() -> tuple[Watchdog, StandingClock]:
    clock = StandingClock()
    return Watchdog(clock, stuck_seconds=10), clock


def test_queue_that_does_not_move():
    watchdog, clock = watching()
    assert watchdog.look("gpu-0", ["a"], ["b"]) is None
    clock.seconds = 9
    assert watchdog.look("gpu-0", ["a"], ["b"]) is None
    clock.seconds = 10
    assert "1 running, 1 pending" in str(watchdog.look("gpu-0", ["a"], ["b"]))


def test_dead_before_it_begins():
    watchdog, clock = watching()
    watchdog.look("gpu-0", [], ["a"])
    clock.seconds = 10
    assert watchdog.look("gpu-0", [], ["a"])


def test_pending_ones_that_come_and_go_are_no_progress():
    watchdog, clock = watching()
    watchdog.look("gpu-0", ["a"], ["b"])
    clock.seconds = 10
    assert watchdog.look("gpu-0", ["a"], ["c", "d"])


def test_another_job_is_progress():
    watchdog, clock = watching()
    watchdog.look("gpu-0", ["a"], ["b"])
    clock.seconds = 10
    assert watchdog.look("gpu-0", ["b"], []) is None
    clock.seconds = 19
    assert watchdog.look("gpu-0", ["b"], []) is None


def test_message_of_a_job_is_progress():
    watchdog, clock = watching()
    watchdog.look("gpu-0", ["a"], [])
    clock.seconds = 9
    watchdog.told("gpu-0")
    clock.seconds = 18
    assert watchdog.look("gpu-0", ["a"], []) is None


def test_idle_runner_is_never_stuck():
    watchdog, clock = watching()
    assert watchdog.look("gpu-0", [], []) is None
    clock.seconds = 100
    assert watchdog.look("gpu-0", [], []) is None
    assert not watchdog.watches("gpu-0")
    assert watchdog.look("gpu-0", ["a"], []) is None


async def test_jobs_of_a_stuck_runner_move(tmp_path):
    """The pending one is taken back, the running one is lost; both wait for another runner."""
    async with jobs_room(tmp_path) as room:
        running, held = await room.running("a"), await room.held("b")
        await room.reconciler.check(room.runner)
        room.clock.seconds = STUCK_SECONDS
        await room.reconciler.check(room.runner)
        assert not room.runner.is_ready
        assert (running.state, held.state) == (AttemptState.LOST, AttemptState.WITHDRAWN)
        assert [job.state for job in room.registry] == [JobState.PENDING, JobState.PENDING]


async def test_jobs_of_a_stuck_runner_run_elsewhere_at_once(tmp_path):
    async with jobs_room(tmp_path, PlayedRunner("gpu-0"), PlayedRunner("gpu-1")) as room:
        await room.running("a")
        await room.held("b")
        room.dispatcher.open()
        await room.reconciler.check(room.pool["gpu-0"])
        room.clock.seconds = STUCK_SECONDS
        await room.reconciler.check(room.pool["gpu-0"])
        async with asyncio.timeout(5):
            while {job.runner for job in room.registry} != {"gpu-1"}:
                await asyncio.sleep(0)


async def test_comes_back_when_its_queue_moves(tmp_path):
    async with jobs_room(tmp_path) as room:
        attempt = await room.running()
        await room.reconciler.check(room.runner)
        room.clock.seconds = STUCK_SECONDS
        await room.reconciler.check(room.runner)
        await room.reconciler.check(room.runner)
        assert not room.runner.is_ready
        room.finish(attempt)
        await room.reconciler.check(room.runner)
        assert room.runner.is_ready


async def test_events_keep_a_long_job_alive(tmp_path):
    async with jobs_room(tmp_path) as room:
        attempt = await room.running()
        await room.reconciler.check(room.runner)
        room.clock.seconds = STUCK_SECONDS - 1
        room.watchdog.told("gpu-0")
        room.clock.seconds = STUCK_SECONDS
        await room.reconciler.check(room.runner)
        assert room.runner.is_ready
        assert attempt.state is AttemptState.RUNNING
