"""Runners are emptied while something goes wrong with them: what the simulator cannot be made to do in time."""

import asyncio

import pytest
from support.room import PlayedRunner, jobs_room

from gateway.config import RunnerConfig
from gateway.jobs.fleet import Fleet, UnknownRunner
from gateway.jobs.states import AttemptState, JobState
from gateway.runners.errors import RunnerUnreachable
from gateway.storage.errors import StorageError


class FleetRunner(PlayedRunner):
    """A played runner that the operator can change."""

    def __init__(self, name="gpu-0"):
        super().__init__(name)
        self.config = RunnerConfig(name=name, endpoint="http://a")
        self.retired = asyncio.Event()
        self.rescued = False

    def start(self):
        pass

    def reconfigure(self, config):
        self.config = config

    async def retire(self, seconds):
        self.retired.set()


@pytest.fixture
async def room(tmp_path):
    """A room with two runners; ``room.fleet`` moves them, and drained ones may keep their jobs for 60 s."""
    async with jobs_room(tmp_path, FleetRunner("gpu-0"), FleetRunner("gpu-1"), retries=0, poison=1) as opened:

        async def rescue(name):
            opened.pool[name].rescued = True

        opened.pool.remove = opened.pool.pop
        opened.fleet = Fleet(
            opened.pool,
            opened.registry,
            opened.dispatcher,
            opened.endings,
            opened.clock,
            make_runner=lambda config: FleetRunner(config.name),
            rescue=rescue,
            drain_seconds=60,
        )
        yield opened
        await opened.fleet.close()


async def until(holds):
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0)


async def emptied(room, name="gpu-0"):
    await asyncio.wait_for(room.fleet.leaving(name).task, 20)


async def test_at_the_deadline_a_job_leaves_a_runner_that_does_not_answer(room):
    attempt = await room.running()
    room.runner.failure = RunnerUnreachable("gpu-0", "refused")
    room.fleet.drain("gpu-0", 0)
    await emptied(room)
    assert attempt.state is AttemptState.MOVED
    assert attempt.job.state is JobState.PENDING
    again = room.registry.new_attempt(attempt.job, "gpu-1", probe=False)
    assert again.runner_prompt_id != attempt.runner_prompt_id  # the first may still be alive there


async def test_before_the_deadline_it_stays_and_its_end_empties_the_runner(room):
    attempt = await room.running()
    room.fleet.drain("gpu-0")
    await until(lambda: room.fleet.leaving("gpu-0").deadline is not None)
    room.finish(attempt)
    await room.tell(attempt, "execution_success")
    await room.tell(attempt, "executing", node=None)
    await emptied(room)
    assert attempt.state is AttemptState.ENDED


async def test_a_job_that_is_about_to_end_is_not_moved(room):
    attempt = await room.running()
    await room.tell(attempt, "execution_success")
    room.fleet.drain("gpu-0", 0)
    await asyncio.sleep(0)
    room.finish(attempt)
    await room.tell(attempt, "executing", node=None)
    await emptied(room)
    assert (attempt.state, attempt.job.state) == (AttemptState.ENDED, JobState.COMPLETED)
    assert not room.runner.did("/interrupt")


async def test_a_post_under_way_is_awaited_and_then_taken_back(room):
    job = await room.pending()
    attempt = room.registry.new_attempt(job, "gpu-0", probe=False)
    room.registry.turn(job, JobState.DISPATCHED)
    await room.registry.store_attempt(attempt)
    room.fleet.drain("gpu-0", 0)
    await asyncio.sleep(0)
    assert attempt.state is AttemptState.POSTING
    attempt.boot = room.runner.boot
    room.runner.pending.append(attempt.runner_prompt_id)
    room.dispatcher.held(attempt)
    await emptied(room)
    assert attempt.state is AttemptState.WITHDRAWN


async def test_a_cancelled_job_that_is_moved_is_not_begun_again(room):
    attempt = await room.running()
    attempt.job.cancel_requested = True
    room.fleet.drain("gpu-0", 0)
    await emptied(room)
    assert attempt.job.state is JobState.CANCELLED
    await room.endings.settled()
    assert room.listener.types()[-2:] == ["execution_interrupted", "done"]


async def test_removed_it_goes_after_its_files(room):
    runner = room.runner
    room.fleet.remove("gpu-0")
    with pytest.raises(UnknownRunner):
        room.fleet.drain("gpu-0")
    await until(lambda: "gpu-0" not in room.pool)
    assert runner.rescued
    await asyncio.wait_for(runner.retired.wait(), 20)
    assert room.fleet.leaving("gpu-0") is None


async def test_an_end_that_has_begun_is_written_when_its_caller_is_cancelled(room):
    attempt = await room.running()
    room.finish(attempt)
    await room.tell(attempt, "execution_success")
    entry = room.runner.history[attempt.runner_prompt_id]
    link = asyncio.create_task(room.endings.ended_on_runner(attempt, entry))
    await asyncio.sleep(0)
    link.cancel()
    await asyncio.gather(link, return_exceptions=True)
    assert link.cancelled()
    await room.endings.settled()
    assert attempt.job.state is JobState.COMPLETED
    assert room.listener.types()[-2:] == ["execution_success", "done"]


async def test_an_end_that_could_not_be_written_can_be_tried_again(room, monkeypatch):
    attempt = await room.running()
    room.finish(attempt)

    async def unavailable(*_):
        raise StorageError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(room.endings, "_as_ours", unavailable)
        with pytest.raises(StorageError):
            await room.endings.ended_on_runner(attempt, room.runner.history[attempt.runner_prompt_id])
    assert (attempt.is_open, attempt.is_closing) == (True, False)


async def test_enabled_in_the_moment_in_which_it_is_empty_it_is_not_emptied_any_more(room):
    """Its last job ends, and it is enabled before anybody has acted on that: a runner that was to be removed would go
    although it was put back."""
    attempt = await room.running()
    room.fleet.drain("gpu-0", 60)
    for _ in range(5):
        await asyncio.sleep(0)  # it waits for its job
    leaving = room.fleet.leaving("gpu-0").task
    room.registry.turn_attempt(attempt, AttemptState.ENDED)
    room.fleet.enable("gpu-0")
    await asyncio.wait({leaving})
    assert leaving.cancelled()
    assert room.fleet.leaving("gpu-0") is None
