"""Who is given which job when, and what follows from each answer of a runner."""

import asyncio

import pytest
from support.room import PlayedRunner, jobs_room

from gateway.jobs.states import AttemptState, JobState
from gateway.runners.errors import RunnerAmbiguous, RunnerUnreachable
from gateway.storage import jobs as job_rows


async def settled(room):
    """Until no dispatch is under way."""
    while room.dispatcher._tasks:
        await asyncio.gather(*room.dispatcher._tasks)
    await room.endings.settled()


async def test_slots_are_filled_in_order_and_no_further(room):
    for name, number in (("late", 3), ("front", -2), ("early", 1)):
        await room.pending(name, number=number)
    room.dispatcher.open()
    await settled(room)
    assert [attempt.job.id for attempt in room.registry.attempts_on("gpu-0")] == ["front", "early"]
    assert [waiting.job_id for waiting in room.registry.waiting] == ["late"]
    assert len(room.runner.did("/prompt")) == 2


async def test_jobs_are_spread(tmp_path):
    async with jobs_room(tmp_path, *(PlayedRunner(f"gpu-{n}") for n in range(3))) as room:
        for name in "abcd":
            await room.pending(name)
        room.dispatcher.open()
        await settled(room)
        assert sorted(len(runner.pending) for runner in room.pool) == [1, 1, 2]


@pytest.mark.parametrize("why", ["down", "disabled"])
async def test_a_runner_that_is_down_or_disabled_gets_nothing(room, why):
    if why == "down":
        room.runner.is_ready = False
    else:
        room.runner.config.status = "disabled"
    job = await room.pending()
    room.dispatcher.open()
    await settled(room)
    assert job.state is JobState.PENDING
    assert room.runner.calls == []
    considered = dict(room.dispatcher.explain(job).considered)
    assert considered == {"gpu-0": "ready: " if why == "down" else "disabled"}


async def test_the_intent_is_stored_before_the_post(room):
    await room.pending()
    stored_at_post = []
    request = room.runner.request

    async def watched(method, path, **more):
        if path == "/prompt":
            stored_at_post.extend(await job_rows.load_attempts(room.db, "a"))
        return await request(method, path, **more)

    room.runner.request = watched
    room.dispatcher.open()
    await settled(room)
    assert [row.state for row in stored_at_post] == ["posting"]


async def test_an_undelivered_job_waits_again(room):
    job = await room.pending()
    room.runner.answer_to_prompt = RunnerUnreachable("gpu-0", "refused")
    room.runner.suspect = lambda reason: setattr(room.runner, "is_ready", False)
    room.dispatcher.open()
    await settled(room)
    assert job.state is JobState.PENDING
    assert [attempt.state for attempt in job.attempts] == [AttemptState.UNDELIVERED]
    room.runner.answer_to_prompt, room.runner.is_ready = None, True
    room.dispatcher.schedule()
    await settled(room)
    assert job.state is JobState.DISPATCHED


@pytest.mark.parametrize("has_it", [True, False])
async def test_a_post_without_an_answer_is_looked_up_and_never_sent_twice(room, has_it):
    job = await room.pending(client_id=None)
    room.runner.answer_to_prompt = RunnerAmbiguous("gpu-0", "no answer")
    room.runner.suspect = lambda reason: setattr(room.runner, "is_ready", False)
    if has_it:
        real = room.runner._prompt

        def accept_and_cut(body):
            room.runner.pending.append(body["prompt_id"])
            return real(body)

        room.runner._prompt = accept_and_cut
    room.dispatcher.open()
    await settled(room)
    assert job.attempts[0].state is (AttemptState.HELD if has_it else AttemptState.LOST)
    assert job.state is (JobState.DISPATCHED if has_it else JobState.PENDING)
    assert len(room.runner.did("/prompt")) == 1


async def test_in_doubt_while_the_runner_is_silent(room):
    job = await room.pending()
    room.runner.failure = RunnerAmbiguous("gpu-0", "no answer")
    room.dispatcher.open()
    await settled(room)
    assert job.attempts[0].state is AttemptState.IN_DOUBT
    assert room.registry.held("gpu-0") == 1, "it may be there"
    room.runner.failure = None
    room.dispatcher._is_open = False
    await room.reconciler.reconcile(room.runner)
    assert job.state is JobState.PENDING


REFUSAL = (400, {"error": {"type": "x", "message": "No such model", "details": "sdxl"}, "node_errors": {}})


async def test_a_late_refusal_sends_the_job_to_another_runner(tmp_path):
    async with jobs_room(tmp_path, PlayedRunner("gpu-0"), PlayedRunner("gpu-1")) as room:
        room.pool["gpu-0"].answer_to_prompt = REFUSAL
        job = await room.pending()
        room.dispatcher.open()
        await settled(room)
        assert job.runner == "gpu-1"
        assert job.refused_by == {"gpu-0": "No such model: sdxl"}


async def test_a_late_refusal_by_all_fails_the_job_with_the_runners_words(room):
    room.runner.answer_to_prompt = REFUSAL
    job = await room.pending()
    room.dispatcher.open()
    await settled(room)
    assert job.state is JobState.FAILED
    assert "No such model: sdxl" in room.listener.messages[0].data["exception_message"]
    assert room.listener.types() == ["execution_error", "done"]


async def test_a_refusal_of_what_no_client_was_promised_leaves_no_trace(room):
    room.runner.answer_to_prompt = REFUSAL
    job = await room.pending()
    job.was_accepted = False
    room.dispatcher.open()
    await settled(room)
    assert job.state is JobState.CANCELLED
    assert room.listener.types() == []


@pytest.mark.parametrize("status", [401, 403, 429, 502, 503])
async def test_a_proxys_answer_is_no_refusal(room, status):
    job = await room.pending()
    room.runner.answer_to_prompt = (status, b"<html>")
    room.runner.suspect = lambda reason: setattr(room.runner, "is_ready", False)
    room.dispatcher.open()
    await settled(room)
    assert job.state is JobState.PENDING
    assert job.refused_by == {}


async def test_an_answer_after_the_runner_was_given_up_changes_nothing(room):
    job = await room.pending()
    room.registry.turn(job, JobState.DISPATCHED)
    attempt = room.registry.new_attempt(job, "gpu-0", probe=False)
    await room.registry.store_attempt(attempt)
    outcome = await room.dispatcher.send(attempt, at_the_end=False)
    room.endings.lost(attempt, "gone")
    await room.dispatcher.settle(attempt, outcome)
    assert job.state is JobState.PENDING
    assert attempt.state is AttemptState.LOST


async def test_a_fault_of_the_gateways_own_keeps_no_slot(room, monkeypatch):
    job = await room.pending()

    async def broken(*_, **__):
        raise KeyError("a bug")

    monkeypatch.setattr(room.dispatcher._staging, "stage", broken)
    room.dispatcher.open()
    await settled(room)
    room.dispatcher._is_open = False
    assert job.attempts[0].state is AttemptState.IN_DOUBT
    await room.reconciler.reconcile(room.runner)
    assert job.state is JobState.PENDING


async def test_the_runner_is_told_the_links_client_and_the_secrets(room):
    await room.pending(extra_data={"a": 1, "gateway": {"tags": []}}, secrets={"api_key_comfy_org": "k"})
    room.dispatcher.open()
    await settled(room)
    (body,) = room.runner.did("/prompt")
    assert body["client_id"] == "gateway"
    assert body["extra_data"] == {"a": 1, "api_key_comfy_org": "k"}
    assert "number" not in body


async def test_runners_are_filled_each_to_its_own_prefetch(tmp_path):
    sizes = {"gpu-0": 1, "gpu-1": 4, "gpu-2": 2}
    runners = [PlayedRunner(name, capacity=capacity) for name, capacity in sizes.items()]
    async with jobs_room(tmp_path, *runners) as room:
        for name in "abcdefghi":
            await room.pending(name)
        room.dispatcher.open()
        await settled(room)
        assert {runner.name: len(runner.pending) for runner in runners} == sizes
        assert [waiting.job_id for waiting in room.registry.waiting] == ["h", "i"]
        first = [runner.pending[0] for runner in runners]
        begun = {attempt.job.id for runner in runners for attempt in room.registry.attempts_on(runner.name)[:1]}
        assert begun == set("abc"), "whoever could hold more begins no more than one"
        assert len(set(first)) == 3
        attempt = room.registry.attempts_on("gpu-0")[0]
        room.finish(attempt)
        await room.tell(attempt, "execution_success", timestamp=2)
        await room.tell(attempt, "executing", node=None)
        await settled(room)
        assert [each.job.id for each in room.registry.attempts_on("gpu-0")] == ["h"], (
            "a freed slot is filled where it is"
        )


async def test_taken_back_while_the_link_stood_it_has_not_run(room):
    attempt = await room.held()
    await room.dispatcher.withdraw(attempt)
    assert attempt.state is AttemptState.WITHDRAWN
    assert attempt.job.state is JobState.PENDING


async def test_without_a_trace_and_an_answer_on_the_link_it_may_have_run(room, monkeypatch):
    """The runner has restarted a moment ago, and nobody has heard yet that the link is closed."""
    attempt = await room.held()
    room.runner.pending.clear()

    async def answers():
        room.runner.link.is_open = False
        return False

    monkeypatch.setattr(room.runner.link, "answers", answers)
    await room.dispatcher.withdraw(attempt)
    assert attempt.state is AttemptState.LOST


async def test_behind_what_still_is_there_it_has_not_run_whatever_the_link(room):
    await room.running("busy")
    job = await room.pending()
    attempt = room.registry.new_attempt(job, "gpu-0", probe=True)
    attempt.behind = room.registry.certainly_before(attempt)
    room.runner.link.is_open = False
    room.registry.turn(job, JobState.DISPATCHED)
    room.dispatcher.held(attempt)
    await room.dispatcher.withdraw(attempt)
    assert attempt.state is AttemptState.WITHDRAWN


async def test_without_a_trace_after_a_restart_it_may_have_run(room):
    """The runner ran it, restarted, and has no trace of it when it is asked to give it back."""
    attempt = await room.held()
    room.runner.pending.clear()
    room.runner.boot += 1
    await room.dispatcher.withdraw(attempt)
    assert attempt.state is AttemptState.LOST
    assert attempt.job.state is JobState.PENDING
