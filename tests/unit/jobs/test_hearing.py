"""What links bring is gone through in order, and an end frees its slot before its turn."""

import asyncio

import pytest

from gateway.comfyui import messages
from gateway.jobs import hearing as module
from gateway.jobs.hearing import Hearing
from gateway.jobs.job import Options
from gateway.jobs.states import JobState
from gateway.storage.errors import StorageError

PICTURE = {"images": [{"filename": "out_00001_.png", "subfolder": "", "type": "output"}]}
FRAME = b"\x00\x00\x00\x01\x00\x00\x00\x01jpeg"


class Disk:
    """Names of outputs are not stored before a test says so."""

    def __init__(self, room, monkeypatch):
        self.is_there = asyncio.Event()
        self._names = room.endings.public_names
        monkeypatch.setattr(room.endings, "public_names", self._public_names)

    async def _public_names(self, *what):
        await self.is_there.wait()
        return await self._names(*what)


@pytest.fixture
def disk(room, monkeypatch):
    return Disk(room, monkeypatch)


@pytest.fixture
async def hearing(room):
    hearing = Hearing(room.follower)
    yield hearing
    await hearing.close()


async def bring(hearing, runner, message):
    """As a link does."""
    rest = hearing.message(runner, message)
    if rest is not None:
        await rest


def told_by(attempt, kind, **data):
    return messages.make(kind, {"prompt_id": attempt.runner_prompt_id, **data})


async def begun(room, **more):
    """A running job whose node 9 is about to tell its output."""
    attempt = await room.running(**more)
    await room.tell(attempt, "execution_cached", nodes=[], timestamp=1)
    room.listener.told.clear()
    return attempt


async def test_an_end_frees_its_slot_while_an_output_is_being_stored(room, hearing, disk):
    attempt = await begun(room)
    await bring(hearing, room.runner, told_by(attempt, "executed", node="9", output=PICTURE))
    assert room.registry.held("gpu-0") == 1
    await bring(hearing, room.runner, told_by(attempt, "execution_success", timestamp=2))
    assert room.registry.held("gpu-0") == 0
    assert attempt.job.state is JobState.RUNNING
    assert room.listener.types() == []
    room.finish(attempt, outputs={"9": PICTURE})
    await bring(hearing, room.runner, told_by(attempt, "executing", node=None))
    disk.is_there.set()
    await hearing.settled(room.runner)
    assert room.listener.types() == ["executed", "execution_success", "done"]
    assert attempt.job.state is JobState.COMPLETED
    assert room.registry.held("gpu-0") == 0


async def test_the_next_job_is_given_out_before_the_end_is_written_down(room, hearing, disk):
    attempt, _held, waiting = await begun(room), await room.held("b"), await room.pending("c")
    room.dispatcher.open()
    assert waiting.state is JobState.PENDING
    await bring(hearing, room.runner, told_by(attempt, "executed", node="9", output=PICTURE))
    await bring(hearing, room.runner, told_by(attempt, "execution_success", timestamp=2))
    assert waiting.state is JobState.DISPATCHED
    assert attempt.is_open


async def test_a_job_that_is_lost_after_it_has_run_frees_its_slot_once(room, hearing):
    attempt = await begun(room)
    await bring(hearing, room.runner, told_by(attempt, "execution_success", timestamp=2))
    room.endings.lost(attempt, "gone")
    assert room.registry.held("gpu-0") == 0
    assert attempt.job.state is JobState.PENDING


async def test_a_branch_that_was_blocked_frees_nothing(room, hearing):
    attempt = await begun(room)
    await bring(hearing, room.runner, told_by(attempt, "execution_error", exception_type="ExecutionBlocked"))
    assert room.registry.held("gpu-0") == 1


async def test_jobs_that_run_alone_wait_for_the_end_to_be_told(room, hearing):
    alone = Options(runs_alone=True)
    attempt, waiting = await begun(room, options=alone), await room.pending("b", options=alone)
    room.dispatcher.open()
    await bring(hearing, room.runner, told_by(attempt, "execution_success", timestamp=2))
    assert waiting.state is JobState.PENDING
    room.finish(attempt)
    await bring(hearing, room.runner, told_by(attempt, "executing", node=None))
    await hearing.settled(room.runner)
    assert waiting.state is JobState.DISPATCHED


async def test_what_comes_meanwhile_is_told_in_its_order(room, hearing, disk):
    attempt = await begun(room)
    await bring(hearing, room.runner, told_by(attempt, "executed", node="9", output=PICTURE))
    await hearing.binary(room.runner, FRAME)
    await bring(hearing, room.runner, told_by(attempt, "progress_state", nodes={}))
    await bring(hearing, room.runner, told_by(attempt, "executing", node="10"))
    assert (room.listener.types(), room.listener.frames) == ([], [])
    disk.is_there.set()
    await hearing.settled(room.runner)
    assert room.listener.types() == ["executed", "progress_state", "executing"]
    assert room.listener.frames == [("a", FRAME)]


async def test_with_nothing_under_way_a_message_is_told_at_once(room, hearing):
    attempt = await begun(room)
    await bring(hearing, room.runner, told_by(attempt, "progress_state", nodes={}))
    await hearing.binary(room.runner, FRAME)
    assert room.listener.types() == ["progress_state"]
    assert room.listener.frames == [("a", FRAME)]


@pytest.mark.parametrize(("bound", "value"), [("LINE_MOST", 2), ("LINE_BYTES_MOST", 2 * len(FRAME))])
async def test_a_full_line_holds_up_the_link(room, hearing, disk, monkeypatch, bound, value):
    monkeypatch.setattr(module, bound, value)
    attempt = await begun(room)
    await bring(hearing, room.runner, told_by(attempt, "executed", node="9", output=PICTURE))
    await asyncio.sleep(0)  # it is taken from the line
    for _ in range(2):
        await hearing.binary(room.runner, FRAME)
    third = asyncio.create_task(hearing.binary(room.runner, FRAME))
    await asyncio.wait([third], timeout=0.01)
    assert not third.done()
    disk.is_there.set()
    await third
    await hearing.settled(room.runner)
    assert len(room.listener.frames) == 3


@pytest.mark.parametrize(("fault", "reopened"), [(StorageError("the disk is full"), 0), (RuntimeError("a fault"), 1)])
async def test_what_fails_holds_up_nothing_and_a_fault_costs_the_socket(room, hearing, monkeypatch, fault, reopened):
    async def fails(*_):
        raise fault

    attempt = await begun(room)
    monkeypatch.setattr(room.endings, "public_names", fails)
    await bring(hearing, room.runner, told_by(attempt, "executed", node="9", output=PICTURE))
    await bring(hearing, room.runner, told_by(attempt, "progress_state", nodes={}))
    await hearing.settled(room.runner)
    assert room.listener.types() == ["progress_state"]
    assert room.runner.links_reopened == reopened


async def test_after_its_close_nothing_is_heard(room, hearing, disk):
    attempt = await begun(room)
    await bring(hearing, room.runner, told_by(attempt, "executed", node="9", output=PICTURE))
    await hearing.close()
    disk.is_there.set()
    await bring(hearing, room.runner, told_by(attempt, "progress_state", nodes={}))
    await hearing.binary(room.runner, FRAME)
    await hearing.settled(room.runner)
    assert (room.listener.types(), room.listener.frames) == ([], [])


async def test_runners_do_not_wait_for_each_other(tmp_path, monkeypatch):
    from support.room import PlayedRunner, jobs_room

    async with jobs_room(tmp_path, PlayedRunner("gpu-0"), PlayedRunner("gpu-1")) as room:
        hearing, disk = Hearing(room.follower), Disk(room, monkeypatch)
        first, second = await begun(room), await room.running("b", "gpu-1")
        await bring(hearing, room.pool["gpu-0"], told_by(first, "executed", node="9", output=PICTURE))
        await bring(hearing, room.pool["gpu-1"], told_by(second, "progress_state", nodes={}))
        assert ("b", "progress_state") in room.listener.told
        assert ("a", "executed") not in room.listener.told
        disk.is_there.set()
        await hearing.settled(room.pool["gpu-0"])
        assert ("a", "executed") in room.listener.told
