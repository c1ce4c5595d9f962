"""Cancelling, interrupting and deleting, by where the job stands and by what its runner can do."""

import asyncio

import pytest
from support.room import SECRETS, PlayedRunner, jobs_room

from gateway.jobs.recovery import recover
from gateway.jobs.states import AttemptState, JobState
from gateway.runners.errors import RunnerAmbiguous
from gateway.storage import jobs as job_rows


@pytest.fixture(params=[True, False], ids=["0.33.0", "0.3.64"])
async def either(tmp_path, request):
    """A room over a runner with and without /api/jobs."""
    async with jobs_room(tmp_path, PlayedRunner(has_jobs_api=request.param)) as opened:
        yield opened


def interrupts(room, attempt):
    path = f"/api/jobs/{attempt.runner_prompt_id}/cancel"
    named = [body for body in room.runner.did("/interrupt") if body == {"prompt_id": attempt.runner_prompt_id}]
    assert len(named) == len(room.runner.did("/interrupt")), "an interrupt without an id hits whatever runs"
    return len(named) + len(room.runner.did(path))


async def test_a_waiting_job_is_deleted_and_cancelled(room):
    first, second = await room.pending("a"), await room.pending("b")
    await room.control.delete([first])
    assert first.state is JobState.CANCELLED
    assert await room.control.cancel(second) is True
    assert second.state is JobState.CANCELLED
    assert room.listener.types() == []
    assert room.runner.calls == []


async def test_an_interrupt_leaves_alone_what_has_not_begun(room):
    waiting, held = await room.pending("a"), await room.held("b")
    await room.control.interrupt([waiting, held.job])
    assert waiting.state is JobState.PENDING
    assert held.job.state is JobState.DISPATCHED
    assert room.runner.calls == []


@pytest.mark.parametrize("how", ["delete", "cancel"])
async def test_a_held_job_is_taken_back(either, how):
    attempt = await either.held()
    if how == "delete":
        await either.control.delete([attempt.job])
    else:
        assert await either.control.cancel(attempt.job) is True
    assert attempt.state is AttemptState.WITHDRAWN
    assert attempt.job.state is JobState.CANCELLED
    assert either.runner.pending == []
    assert interrupts(either, attempt) == 0
    assert either.listener.types() == []


def begins_just_now(room, attempt):
    """The runner has begun it, and nobody has told the gateway."""
    room.runner.pending.remove(attempt.runner_prompt_id)
    room.runner.running.append(attempt.runner_prompt_id)


async def test_a_deletion_that_comes_too_late_lets_the_job_go_on(either):
    attempt = await either.held()
    begins_just_now(either, attempt)
    await either.control.delete([attempt.job])
    assert attempt.job.state is JobState.RUNNING
    assert not attempt.job.is_unwanted
    assert interrupts(either, attempt) == 0


async def test_a_cancellation_that_comes_too_late_interrupts(either):
    attempt = await either.held()
    begins_just_now(either, attempt)
    assert await either.control.cancel(attempt.job) is True
    assert attempt.job.state is JobState.RUNNING
    assert interrupts(either, attempt) == 1


@pytest.mark.parametrize("how", ["interrupt", "cancel"])
async def test_a_running_job_is_interrupted_by_its_id(either, how):
    attempt = await either.running()
    if how == "interrupt":
        await either.control.interrupt([attempt.job])
    else:
        assert await either.control.cancel(attempt.job) is True
    assert interrupts(either, attempt) == 1
    assert attempt.job.state is JobState.RUNNING, "its runner tells the end"


async def test_a_cancellation_that_reconciling_carries_out_first_has_succeeded(either, monkeypatch):
    """While the wish is being stored, a health check obeys it and the runner tells the end."""
    attempt = await either.running()
    store = either.registry.store_wishes

    async def slowly(jobs):
        await store(jobs)
        assert await either.dispatcher.obey(attempt) is True
        await either.tell(attempt, "execution_interrupted", timestamp=2)

    monkeypatch.setattr(either.registry, "store_wishes", slowly)
    assert await either.control.cancel(attempt.job) is True
    assert interrupts(either, attempt) == 1


async def test_a_running_job_is_not_deleted(either):
    attempt = await either.running()
    await either.control.delete([attempt.job])
    assert attempt.job.state is JobState.RUNNING
    assert not attempt.job.is_unwanted
    assert either.runner.calls == []


async def test_a_job_that_has_just_ended_is_left_alone(either):
    """An interrupt could hit the job that its runner has begun since."""
    attempt = await either.running()
    await either.tell(attempt, "execution_success", timestamp=2)
    await either.control.interrupt([attempt.job])
    assert await either.control.cancel(attempt.job) is False
    assert interrupts(either, attempt) == 0


async def test_a_job_whose_end_is_unheard_of_is_not_cancelled(either):
    attempt = await either.running()
    either.finish(attempt)
    if either.runner.has_jobs_api:
        assert await either.control.cancel(attempt.job) is False


async def test_an_ended_job_is_not_cancelled(room):
    job = await room.pending()
    room.endings.dropped(job, "gone")
    assert await room.control.cancel(job) is False


async def test_a_cancellation_during_the_post_waits_for_the_answer(room):
    job = await room.pending()
    room.registry.turn(job, JobState.DISPATCHED)
    attempt = room.registry.new_attempt(job, "gpu-0", probe=False)
    await room.registry.store_attempt(attempt)
    assert await room.control.cancel(job) is True
    assert room.runner.calls == []
    await room.dispatcher.settle(attempt, await room.dispatcher.send(attempt, at_the_end=False))
    assert job.state is JobState.CANCELLED
    assert room.runner.pending == []


@pytest.mark.parametrize("wish", ["delete", "cancel"])
async def test_a_wish_that_did_not_reach_the_runner_is_carried_out_when_it_answers(either, wish):
    attempt = await either.held()
    either.runner.failure = RunnerAmbiguous("gpu-0", "no answer")
    if wish == "delete":
        await either.control.delete([attempt.job])
    else:
        assert await either.control.cancel(attempt.job) is True
    assert attempt.job.state is JobState.DISPATCHED
    assert either.runner.suspicions
    either.runner.failure = None
    await either.reconciler.reconcile(either.runner)
    assert attempt.job.state is JobState.CANCELLED
    assert either.runner.pending == []


async def test_an_interrupt_that_did_not_reach_the_runner_is_tried_again(either):
    attempt = await either.running()
    either.runner.failure = RunnerAmbiguous("gpu-0", "no answer")
    await either.control.interrupt([attempt.job])
    either.runner.failure = None
    either.runner.calls.clear()
    await either.reconciler.reconcile(either.runner)
    assert interrupts(either, attempt) == 1


async def test_a_deletion_that_failed_and_then_began_goes_on(room):
    attempt = await room.held()
    room.runner.failure = RunnerAmbiguous("gpu-0", "no answer")
    await room.control.delete([attempt.job])
    room.runner.failure = None
    begins_just_now(room, attempt)
    await room.reconciler.reconcile(room.runner)
    assert attempt.job.state is JobState.RUNNING
    assert interrupts(room, attempt) == 0


async def test_a_clear_gives_no_slot_to_what_it_is_about_to_clear(room):
    """With the dispatcher open, a held job's slot would be filled with the next waiting one."""
    held = await room.held("a")
    await room.running("r")
    waiting = [await room.pending(name) for name in ("b", "c")]
    room.dispatcher.open()
    room.runner.calls.clear()
    await room.control.delete([held.job, *waiting])
    assert room.runner.did("/prompt") == []
    assert [job.id for job in room.registry] == ["r"]


async def test_cancelling_several_gives_no_slot_to_one_of_them(room):
    """The runner takes two; the third waits, and would come next as soon as one of the others is gone."""
    first, second = await room.held("a"), await room.held("b")
    waiting = await room.pending("c")
    room.dispatcher.open()
    assert await room.control.cancel_all([first.job, waiting, second.job]) is True
    await room.dispatcher.drain()
    assert [job.state for job in (first.job, second.job, waiting)] == [JobState.CANCELLED] * 3
    assert len(waiting.attempts) == 0
    assert await room.control.cancel_all([]) is False


@pytest.mark.parametrize("how", ["delete", "cancel"])
async def test_the_answer_comes_when_a_withdrawal_that_a_check_has_begun_is_over(room, monkeypatch, how):
    held = await room.held("a")
    asked, answers = asyncio.Event(), asyncio.Event()
    take_back = room.dispatcher._take_backs.take_back

    async def slow(runner, attempt):
        asked.set()
        await answers.wait()
        return await take_back(runner, attempt)

    monkeypatch.setattr(room.dispatcher._take_backs, "take_back", slow)
    checking = asyncio.create_task(room.dispatcher.withdraw(held))
    await asked.wait()
    ending = asyncio.create_task(room.control.delete([held.job]) if how == "delete" else room.control.cancel(held.job))
    await asyncio.wait({ending}, timeout=0.05)
    assert not ending.done()
    answers.set()
    await asyncio.gather(checking, ending)
    assert held.job.state is JobState.CANCELLED


async def test_deleted_jobs_are_stored_as_such(room):
    attempt = await room.held()
    await room.control.delete([attempt.job])
    await room.db.flushed()
    row = await job_rows.load_job(room.db, "a")
    assert (row.state, row.hidden) == ("cancelled", True)
    assert (await job_rows.load_attempts(room.db, "a"))[0].state == "withdrawn"


async def stored_wish(room, job_id="a"):
    row = await job_rows.load_job(room.db, job_id)
    return row.wish


@pytest.mark.parametrize("wish", ["delete", "cancel"])
async def test_a_wish_is_stored_before_the_runner_is_asked(room, wish):
    attempt = await room.held()
    stored = []
    request = room.runner.request

    async def watched(*args, **more):
        stored.append(await stored_wish(room))
        return await request(*args, **more)

    room.runner.request = watched
    if wish == "delete":
        await room.control.delete([attempt.job])
    else:
        assert await room.control.cancel(attempt.job) is True
    assert stored[0] == wish


async def test_a_waiting_job_is_gone_for_good_before_the_answer(room):
    first, second = await room.pending("a"), await room.pending("b")
    await room.control.cancel(first)
    assert (await job_rows.load_job(room.db, "a")).state == "cancelled"
    await room.control.delete([second])
    assert (await job_rows.load_job(room.db, "b")).state == "cancelled"


async def test_a_deletion_of_what_had_begun_is_forgotten(room):
    attempt = await room.held()
    room.runner.failure = RunnerAmbiguous("gpu-0", "no answer")
    await room.control.delete([attempt.job])
    assert await stored_wish(room) == "delete"
    room.registry.started(attempt)
    await room.db.flushed()
    assert await stored_wish(room) is None


@pytest.mark.parametrize("wish", ["delete", "cancel"])
async def test_the_next_life_knows_the_wish_and_carries_it_out(tmp_path, wish):
    runner = PlayedRunner()
    async with jobs_room(tmp_path, runner) as room:
        attempt = await room.held()
        runner.failure = RunnerAmbiguous("gpu-0", "no answer")
        if wish == "delete":
            await room.control.delete([attempt.job])
        else:
            assert await room.control.cancel(attempt.job) is True
    runner.failure = None
    async with jobs_room(tmp_path, runner) as room:
        await recover(room.db, room.registry, SECRETS)
        job = room.registry.get("a")
        assert job.is_unwanted
        await room.reconciler.reconcile(runner)
        assert job.state is JobState.CANCELLED
        assert runner.pending == []
