"""How jobs end: each exactly once, stored before it is told."""

import asyncio
import gc

import orjson
import pytest
from support.room import PlayedRunner, history_of, jobs_room

from gateway.jobs.states import AttemptState, JobState
from gateway.storage import jobs as job_rows
from gateway.storage.errors import StorageError


async def row_of(room, job_id="a"):
    await room.db.flushed()
    return await job_rows.load_job(room.db, job_id)


async def lose(room, job, runner="gpu-0", *, begun=True):
    """One more runner takes the job down with it."""
    attempt = room.registry.new_attempt(job, runner, probe=False)
    room.registry.turn(job, JobState.DISPATCHED)
    await room.registry.store_attempt(attempt)
    room.registry.turn_attempt(attempt, AttemptState.HELD)
    if begun:
        room.registry.started(attempt)
    room.endings.lost(attempt, "gone")
    return attempt


@pytest.fixture
async def three(tmp_path):
    async with jobs_room(tmp_path, *(PlayedRunner(f"gpu-{n}") for n in range(3))) as opened:
        yield opened


async def test_a_lost_job_waits_again_in_its_place(room):
    attempt = await room.running("a")
    await room.pending("b")
    room.endings.lost(attempt, "gone for 15 s")
    assert attempt.state is AttemptState.LOST
    assert attempt.job.state is JobState.PENDING
    assert [waiting.job_id for waiting in room.registry.waiting] == ["a", "b"]
    assert list(attempt.job.live.messages()) == [], "it starts again"
    assert room.listener.types() == ["execution_start"]


async def test_lost_twice_is_lost_once(room):
    attempt = await room.running()
    room.endings.lost(attempt, "gone")
    room.endings.lost(attempt, "gone")
    assert len(attempt.job.lost_attempts()) == 1


async def test_a_prompt_that_takes_two_runners_down_is_poison(three):
    job = await three.pending()
    await lose(three, job, "gpu-0")
    assert job.state is JobState.PENDING
    await lose(three, job, "gpu-1")
    row = await row_of(three)
    assert row.state == "failed"
    entry = orjson.loads(row.entry)
    (kind, data) = entry["status"]["messages"][-1]
    assert (kind, data["exception_type"]) == ("execution_error", "PoisonPrompt")
    assert "gpu-0, gpu-1" in data["exception_message"]
    assert three.listener.types() == ["execution_error", "done"]


async def test_one_runner_may_lose_a_job_as_often_as_it_is_retried(room):
    job = await room.pending()
    for _ in range(2):
        await lose(room, job)
        assert job.state is JobState.PENDING
    await lose(room, job)
    assert job.state is JobState.FAILED
    assert orjson.loads((await row_of(room)).entry)["status"]["messages"][-1][1]["exception_type"] == "RunnerLost"


async def test_losses_before_it_began_are_not_held_against_the_prompt(three):
    job = await three.pending()
    for number in range(12):
        await lose(three, job, f"gpu-{number % 3}", begun=False)
        assert job.state is JobState.PENDING
    await lose(three, job, begun=False)
    assert job.state is JobState.FAILED, "but not for ever"


async def test_an_interrupted_job_whose_runner_is_lost_is_cancelled(room):
    attempt = await room.running()
    attempt.job.cancel_requested = True
    room.endings.lost(attempt, "gone")
    assert (await row_of(room)).state == "cancelled"
    assert room.listener.types() == ["execution_start", "execution_interrupted", "done"]


@pytest.mark.parametrize("wish", ["cancel_requested", "delete_requested"])
async def test_an_unwanted_job_that_had_not_begun_goes_with_its_runner(room, wish):
    attempt = await room.held()
    setattr(attempt.job, wish, True)
    room.endings.lost(attempt, "gone")
    row = await row_of(room)
    assert (row.state, row.hidden) == ("cancelled", True)
    assert room.listener.types() == []
    assert "a" not in room.history


async def test_a_dropped_job_leaves_no_trace_for_clients(room):
    room.endings.dropped(await room.pending(), "deleted")
    assert room.listener.told == [("", "status"), ("", "status")]
    assert room.registry.remaining == 0
    assert await room.history.entry("a", None) is None
    row = await row_of(room)
    assert (row.state, row.hidden, row.entry) == ("cancelled", True, None)


async def test_missed_events_are_made_up_for(room):
    """The link was down from before the start to after the end."""
    attempt = await room.held()
    await room.endings.ended_on_runner(
        attempt, history_of(attempt.runner_prompt_id, outputs={"9": {"text": ["hello"]}})
    )
    assert room.listener.types() == [
        "execution_start",
        "execution_cached",
        "executed",
        "execution_success",
        "done",
    ]
    assert {message.data["prompt_id"] for message in room.listener.messages} == {"a"}


async def test_two_tell_the_same_end_at_once(room):
    attempt = await room.running()
    entry = history_of(attempt.runner_prompt_id)
    await asyncio.gather(*(room.endings.ended_on_runner(attempt, entry) for _ in range(5)))
    assert room.listener.types() == ["execution_start", "execution_success", "done"]


async def test_a_runner_lost_while_its_jobs_end_is_written_down_loses_nothing(room):
    attempt = await room.running()
    ending = asyncio.create_task(room.endings.ended_on_runner(attempt, history_of(attempt.runner_prompt_id)))
    await asyncio.sleep(0)  # the end is being written down
    room.endings.lost(attempt, "gone")
    await ending
    assert (await row_of(room)).state == "completed"
    assert attempt.job.state is JobState.COMPLETED


async def test_an_end_whose_names_cannot_be_stored_is_not_told_and_can_come_again(room, monkeypatch):
    attempt = await room.running()
    picture = {"images": [{"filename": "out_00001_.png", "subfolder": "", "type": "output"}]}
    entry = history_of(attempt.runner_prompt_id, outputs={"9": picture})

    async def full(*_, **__):
        raise StorageError("disk full")

    with monkeypatch.context() as patched, pytest.raises(StorageError):
        patched.setattr(room.endings._names, "assign_all", full)
        await room.endings.ended_on_runner(attempt, entry)
    assert attempt.job.state is JobState.RUNNING
    assert room.listener.types() == ["execution_start"]
    await room.endings.ended_on_runner(attempt, entry)
    assert attempt.job.state is JobState.COMPLETED
    assert room.listener.types()[-1] == "done"


async def test_a_fault_of_an_end_that_nobody_waits_for_any_more_is_no_unheard_one(room, monkeypatch):
    attempt = await room.running()
    picture = {"images": [{"filename": "out_00001_.png", "subfolder": "", "type": "output"}]}
    may_fail, unheard = asyncio.Event(), []

    async def locked(*_, **__):
        await may_fail.wait()
        raise StorageError("database is locked")

    monkeypatch.setattr(room.endings._names, "assign_all", locked)
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unheard.append(context))
    entry = history_of(attempt.runner_prompt_id, outputs={"9": picture})
    waiting = asyncio.create_task(room.endings.ended_on_runner(attempt, entry))
    await asyncio.sleep(0)
    waiting.cancel()
    may_fail.set()
    await asyncio.gather(waiting, return_exceptions=True)
    await room.endings.settled()
    gc.collect()
    assert unheard == []
    assert attempt.job.state is JobState.RUNNING


async def test_the_entry_tells_the_clients_extra_data_and_no_secret(room):
    attempt = await room.running(
        "a", extra_data={"mine": 1}, secrets={"api_key_comfy_org": "s3cret"}, client_id="browser"
    )
    runners = {"client_id": "gateway", "mine": 1, "api_key_comfy_org": "s3cret"}
    await room.endings.ended_on_runner(attempt, history_of(attempt.runner_prompt_id, extra_data=runners))
    raw = (await row_of(room)).entry
    assert b"s3cret" not in raw
    assert orjson.loads(raw)["prompt"][3] == {"mine": 1, "client_id": "browser"}


async def test_a_slot_is_free_before_the_client_hears_of_the_end(room):
    attempt = await room.running()
    held_when_told = []
    room.listener.job_message = lambda job, message: held_when_told.append(room.registry.held("gpu-0"))
    await room.endings.ended_on_runner(attempt, history_of(attempt.runner_prompt_id))
    assert set(held_when_told) == {0}


async def test_a_standing_link_is_given_time_to_tell_the_end(room):
    attempt = await room.running()
    entry = history_of(attempt.runner_prompt_id)
    await room.endings.found_ended(attempt, entry, link_stood=True)
    assert attempt.job.state is JobState.RUNNING
    room.clock.seconds += 10
    await room.endings.found_ended(attempt, entry, link_stood=True)
    assert attempt.job.state is JobState.COMPLETED


async def test_a_loss_is_told_before_the_job_begins_anew(room):
    attempt = await room.running("a")
    room.endings.lost(attempt, "gone")
    assert room.listener.lost == ["a"]


async def test_a_job_that_is_cancelled_after_its_runner_was_lost_is_ended_for_its_client(room):
    attempt = await room.running("a")
    room.endings.lost(attempt, "gone")
    assert await room.control.cancel(attempt.job)
    await room.endings.settled()
    assert room.listener.types() == ["execution_start", "execution_interrupted", "done"]
    assert (await row_of(room)).state == "cancelled"
    assert "a" in room.history


async def test_an_end_that_the_gateway_makes_is_stored_before_it_is_told(room, monkeypatch):
    """Else a crash in between would run the job again, after its client has heard of its end."""
    job = await room.pending()
    disk, flushed = asyncio.Event(), room.db.flushed

    async def when_the_disk_is_done():
        await disk.wait()
        await flushed()

    monkeypatch.setattr(room.db, "flushed", when_the_disk_is_done)
    room.endings.failed(job, "RunnerLost", "gone")
    for _ in range(20):
        await asyncio.sleep(0)
    assert room.listener.types() == []
    disk.set()
    await room.endings.settled()
    assert room.listener.types() == ["execution_error", "done"]
    assert (await row_of(room)).state == "failed"


async def test_a_file_keeps_the_name_that_its_job_has_told_of_it(room):
    """A cached file is told; before the job's end, another job is heard of that has written over it."""
    picture = {"filename": "out_00001_.png", "subfolder": "", "type": "output"}
    first, second = await room.running("a"), await room.held("b")
    await room.endings.public_names(first, {"9": {"images": [picture]}})
    second.cached_nodes.add("9")
    (told,) = (await room.endings.public_names(second, {"9": {"images": [picture]}})).values()
    third = await room.held("c")
    (fresh,) = (await room.endings.public_names(third, {"9": {"images": [picture]}})).values()
    assert fresh != told
    room.finish(second, outputs={"9": {"images": [picture]}})
    await room.endings.ended_on_runner(second, room.runner.history[second.runner_prompt_id])
    (kept,) = orjson.loads((await row_of(room, "b")).entry)["outputs"]["9"]["images"]
    assert kept["filename"] == told.filename
