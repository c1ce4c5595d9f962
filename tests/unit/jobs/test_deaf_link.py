"""A link that stands and tells nothing: the runner's books are ahead of it, and a new link takes its place."""

import asyncio

from support.room import PlayedRunner, jobs_room

from gateway.comfyui.frames import preview_frame
from gateway.jobs.endings import LINK_TELLS_SECONDS
from gateway.jobs.states import JobState


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_end_that_was_not_told(tmp_path):
    async with jobs_room(tmp_path) as room:
        attempt = await room.held()
        room.finish(attempt)
        await room.reconciler.check(room.runner)
        await settled()
        assert (attempt.job.state, room.runner.links_reopened) == (JobState.DISPATCHED, 0)
        room.clock.seconds = LINK_TELLS_SECONDS
        await room.reconciler.check(room.runner)
        await settled()
        assert (attempt.job.state, room.runner.links_reopened) == (JobState.COMPLETED, 1)


async def test_a_link_that_is_behind_but_tells_is_waited_for(tmp_path):
    """The end comes behind large pictures: they are not to be lost because they take long."""
    async with jobs_room(tmp_path) as room:
        attempt = await room.running()
        room.finish(attempt)
        for second in (0.0, 0.9, 1.8):
            room.clock.seconds = second * LINK_TELLS_SECONDS
            await room.reconciler.check(room.runner)
            await settled()
            await room.follower.binary(room.runner, preview_frame(b"a large one", "image/png"))
        assert (attempt.job.state, room.runner.links_reopened) == (JobState.RUNNING, 0)
        assert len(room.listener.frames) == 3
        await room.reconciler.check(room.runner)
        room.clock.seconds += LINK_TELLS_SECONDS
        await room.reconciler.check(room.runner)
        await settled()
        assert (attempt.job.state, room.runner.links_reopened) == (JobState.COMPLETED, 1)


async def test_start_that_was_not_told(tmp_path):
    async with jobs_room(tmp_path) as room:
        attempt = await room.held()
        room.runner.pending.remove(attempt.runner_prompt_id)
        room.runner.running.append(attempt.runner_prompt_id)
        await room.reconciler.check(room.runner)
        room.clock.seconds = LINK_TELLS_SECONDS
        await room.reconciler.check(room.runner)
        await settled()
        assert attempt.job.state is JobState.RUNNING
        assert room.runner.links_reopened == 1
        await room.reconciler.check(room.runner)  # the new link is another one than the job was posted in
        await settled()
        assert room.runner.links_reopened == 1


async def test_link_that_tells_is_left_alone(tmp_path):
    async with jobs_room(tmp_path, PlayedRunner()) as room:
        await room.running()
        await room.reconciler.check(room.runner)
        room.clock.seconds = LINK_TELLS_SECONDS
        await room.reconciler.check(room.runner)
        await settled()
        assert room.runner.links_reopened == 0
