"""A node's exception is an answer; out of memory is retried on another runner, where that is allowed."""

import pytest
from support.room import PlayedRunner, history_of, jobs_room

from gateway.jobs.job import Options
from gateway.jobs.states import AttemptState, JobState

TYPES = ["torch.OutOfMemoryError", "torch.cuda.OutOfMemoryError"]


async def ends_with(room, attempt, exception_type: str) -> None:
    """The runner ends the attempt with this exception; its link tells so."""
    error = {"exception_type": exception_type, "exception_message": "", "timestamp": 2}
    room.finish(attempt)
    entry = history_of(attempt.runner_prompt_id, end="execution_error")
    entry["status"]["messages"][-1][1].update(error)
    room.pool[attempt.runner].history[attempt.runner_prompt_id] = entry
    await room.tell(attempt, "execution_error", **error)
    await room.tell(attempt, "executing", node=None)


def runners() -> tuple[PlayedRunner, PlayedRunner]:
    return PlayedRunner("gpu-0"), PlayedRunner("gpu-1")


@pytest.mark.parametrize("exception_type", TYPES)
async def test_tried_on_another_runner(tmp_path, exception_type):
    async with jobs_room(tmp_path, *runners(), oom=True) as room:
        attempt = await room.running()
        await ends_with(room, attempt, exception_type)
        assert attempt.state is AttemptState.ENDED
        assert attempt.job.state is JobState.PENDING
        room.dispatcher.open()
        assert attempt.job.runner == "gpu-1"
        assert room.listener.types() == ["execution_start"]


async def test_is_an_answer_by_default(tmp_path):
    async with jobs_room(tmp_path, *runners()) as room:
        attempt = await room.running()
        await ends_with(room, attempt, TYPES[0])
        assert attempt.job.state is JobState.FAILED


async def test_other_exceptions_are_answers(tmp_path):
    async with jobs_room(tmp_path, *runners(), oom=True) as room:
        attempt = await room.running()
        await ends_with(room, attempt, "RuntimeError")
        assert attempt.job.state is JobState.FAILED


async def test_told_when_no_other_runner_is_left(tmp_path):
    async with jobs_room(tmp_path, PlayedRunner("gpu-0"), oom=True) as room:
        attempt = await room.running()
        await ends_with(room, attempt, TYPES[0])
        assert attempt.job.state is JobState.FAILED
        assert room.listener.types() == ["execution_start", "execution_error", "done"]


async def test_the_prompt_says_how_often(tmp_path):
    async with jobs_room(tmp_path, *runners(), oom=True) as room:
        attempt = await room.running(options=Options(retries=0))
        await ends_with(room, attempt, TYPES[0])
        assert attempt.job.state is JobState.FAILED


async def test_the_prompt_says_how_often_a_lost_runner_is_replaced(tmp_path):
    async with jobs_room(tmp_path, *runners()) as room:
        attempt = await room.running(options=Options(retries=0))
        room.endings.lost(attempt, "gone")
        assert attempt.job.state is JobState.FAILED
