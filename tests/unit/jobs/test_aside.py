"""Jobs whose inputs cannot be had: tried so often, and in nobody's way meanwhile."""

import asyncio

import pytest

from gateway.files.staging import StagedPrompt, StagingError
from gateway.jobs import aside
from gateway.jobs.states import AttemptState, JobState

LONG = (3600.0,) * 8


class Missing:
    """Staging for which the inputs of some jobs are missing."""

    def __init__(self, *prompts):
        self.prompts = list(prompts)

    async def stage(self, prompt, runner, *_):
        if prompt in self.prompts:
            raise StagingError("x.png [output]", runner.name, "gpu-9 is down (its source)", runner_failed=False)
        return StagedPrompt(prompt, {})


BAD = {"1": {"class_type": "LoadImage", "inputs": {"image": "x.png [output]"}}}


@pytest.fixture
def missing(room):
    room.dispatcher._staging = Missing(BAD)
    return room.dispatcher._staging


async def settled(room):
    while room.dispatcher._tasks:
        await asyncio.gather(*room.dispatcher._tasks)


async def until(holds):
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0)


async def test_it_fails_with_the_reason_after_its_last_try(room, missing, monkeypatch):
    monkeypatch.setattr(aside, "PAUSES", (0.0,) * 3)
    job = await room.pending(prompt=BAD)
    room.dispatcher.open()
    await until(lambda: job.state is JobState.FAILED)
    await room.endings.settled()
    assert [attempt.state for attempt in job.attempts] == [AttemptState.UNDELIVERED] * 4
    error = room.listener.messages[0].data
    assert error["exception_type"] == "InputUnavailable"
    assert "x.png [output]" in error["exception_message"]
    assert "gpu-9 is down" in error["exception_message"]
    assert room.listener.types() == ["execution_error", "done"]
    assert room.runner.did("/prompt") == []


async def test_it_holds_no_slot_and_nobody_up_while_it_waits(room, missing, monkeypatch):
    monkeypatch.setattr(aside, "PAUSES", LONG)
    room.runner.capacity = 1
    first, second = await room.pending("a", prompt=BAD), await room.pending("b")
    room.dispatcher.open()
    await until(lambda: second.attempt is not None and second.attempt.state is AttemptState.HELD)
    assert first.state is JobState.PENDING
    assert first.attempt is None
    assert room.registry.shown(JobState.PENDING) == [first], "it is in the queue that clients see"
    assert room.dispatcher.explain(first).reason.startswith("tried again soon: x.png [output] could not be brought")


async def test_it_goes_when_the_input_is_there(room, missing, monkeypatch):
    monkeypatch.setattr(aside, "PAUSES", (0.0,) * 8)
    job = await room.pending(prompt=BAD)
    room.dispatcher.open()
    await until(lambda: job.input_failures == 3)
    missing.prompts.clear()
    await until(lambda: job.attempt is not None and job.attempt.state is AttemptState.HELD)
    assert job.input_failures == 0, "it is counted anew"


async def test_it_can_be_cancelled_meanwhile(room, missing, monkeypatch):
    monkeypatch.setattr(aside, "PAUSES", LONG)
    job = await room.pending(prompt=BAD)
    room.dispatcher.open()
    await settled(room)
    assert await room.control.cancel(job) is True
    assert job.state is JobState.CANCELLED
    assert room.listener.types() == []
