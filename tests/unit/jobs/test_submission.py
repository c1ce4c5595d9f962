"""What becomes of a submission that fails in the gateway itself."""

import asyncio
import uuid

import pytest
from support.room import SECRETS, history_of

from gateway.config import AddressesConfig, QueueConfig
from gateway.jobs.changes import as_list
from gateway.jobs.post import Fate, Found
from gateway.jobs.receivers import Receivers
from gateway.jobs.states import AttemptState, JobState
from gateway.jobs.submission import Submissions
from gateway.runners.addresses import EndpointRules
from gateway.runners.errors import RunnerAmbiguous, RunnerUnreachable
from gateway.scheduling.tagging import Tagging
from gateway.storage import jobs as job_rows
from gateway.storage.errors import DatabaseUnavailable

REQUEST = {"prompt": {"9": {"class_type": "SaveImage", "inputs": {}}}, "client_id": "client"}


class Fault(Exception):
    """Of the gateway's own."""


@pytest.fixture
def submissions(room):
    room.dispatcher.open()
    return Submissions(
        room.registry,
        room.history,
        room.pool,
        room.dispatcher,
        room.db,
        room.clock,
        bounds=QueueConfig(max_pending=10),
        secrets=SECRETS,
        receivers=Receivers(EndpointRules(AddressesConfig())),
        tagging=Tagging(()),
    )


async def failing(*_, **__):
    raise Fault


async def submit(room, submissions):
    """Submits what is bound to fail; returns its attempt."""
    attempts = []
    new_attempt = room.registry.new_attempt

    def watched(*args, **more):
        attempts.append(new_attempt(*args, **more))
        return attempts[-1]

    room.registry.new_attempt = watched
    with pytest.raises(Fault):
        await submissions.submit(REQUEST, "")
    return attempts[-1]


async def left_nothing(room, attempt):
    await room.db.flushed()
    assert not attempt.is_open
    assert attempt.job.state is JobState.REFUSED
    assert list(room.registry) == []
    assert room.registry.held("gpu-0") == 0
    assert not room.registry.waiting.holders(("", "client"))
    assert await job_rows.load_job(room.db, attempt.job.id) is None


async def test_a_fault_before_the_post_leaves_slot_and_lane_free(room, submissions):
    room.dispatcher._staging.stage = failing
    attempt = await submit(room, submissions)
    await left_nothing(room, attempt)
    assert attempt.state is AttemptState.UNDELIVERED
    assert room.runner.calls == []


async def delivered_and_failed(room, submissions):
    """The runner has it, under an id of its own, and what is done then fails."""
    room.runner.answer_to_prompt = (200, {"prompt_id": "its-own", "number": 1, "node_errors": {}})
    room.runner.pending.append("its-own")
    room.dispatcher.on_another_id = failing
    return await submit(room, submissions)


async def test_a_fault_after_the_post_has_the_runner_drop_it(room, submissions):
    attempt = await delivered_and_failed(room, submissions)
    await left_nothing(room, attempt)
    assert attempt.state is AttemptState.LOST
    await room.dispatcher.drain()
    assert room.runner.pending == []
    assert room.runner.did("/interrupt") == [{"prompt_id": "its-own"}]


async def test_a_runner_that_does_not_answer_then_is_asked_again(room, submissions):
    request = room.runner.request

    async def no_answer(method, path, **more):
        if path == "/queue":
            raise RunnerAmbiguous("gpu-0", "no answer")
        return await request(method, path, **more)

    room.runner.request = no_answer
    await delivered_and_failed(room, submissions)
    await room.dispatcher.drain()
    assert room.runner.pending == ["its-own"]
    room.runner.request = request
    for _ in range(2):  # seen ownerless twice
        await room.reconciler.check(room.runner)
    assert room.runner.pending == []


async def test_what_cannot_be_stored_is_not_accepted_on_the_gateways_own_checks_either(room, submissions, monkeypatch):
    """A prompt that was answered with 503 must not run: its client sends it again."""
    room.runner.failure = RunnerUnreachable("gpu-0", "refused")
    write, written = room.db.write, []

    def no_room_for_the_second(*operations):
        written.append(operations)
        if len(written) == 2:  # the first is the intent to post
            raise DatabaseUnavailable("the disk is full")
        return write(*operations)

    monkeypatch.setattr(room.db, "write", no_room_for_the_second)
    answer = await submissions.submit(REQUEST, "")
    assert answer.status == 503
    assert list(room.registry) == []
    assert len(room.registry.waiting) == 0
    await room.db.flushed()
    assert await job_rows.load_unfinished(room.db) == []


async def test_a_503_is_told_when_nothing_is_left_of_the_prompt(room, submissions, monkeypatch):
    """The database is away from the second write on: a crash after the answer must not find the job, and run it."""
    room.runner.failure = RunnerUnreachable("gpu-0", "refused")
    write, flushed, is_away = room.db.write, room.db.flushed, [False]
    back = asyncio.Event()

    def first_only(*operations):
        if is_away[0]:
            raise DatabaseUnavailable("database is locked")
        is_away[0] = True
        return write(*operations)

    async def once_it_is_back():
        if is_away[0]:
            back.set()
            raise DatabaseUnavailable("database is locked")
        await flushed()

    monkeypatch.setattr(room.db, "write", first_only)
    monkeypatch.setattr(room.db, "flushed", once_it_is_back)
    submitting = asyncio.create_task(submissions.submit(REQUEST, ""))
    await back.wait()
    assert not submitting.done()
    is_away[0] = False
    assert (await submitting).status == 503
    assert await job_rows.load_unfinished(room.db) == []


async def test_what_was_accepted_and_ended_at_once_is_no_503_while_its_end_cannot_be_stored(
    room, submissions, monkeypatch
):
    """Every slot is taken; the prompt is validated behind everything, and has run before it can be taken back."""
    held = [await room.held(name) for name in ("x", "y")]
    room.registry.start_counting(highest_seq=2, next_number=3)

    async def locked(*_, **__):
        raise DatabaseUnavailable("database is locked")

    monkeypatch.setattr(room.endings, "ended_on_runner", locked)

    async def has_ended(runner, attempt):
        return Found(Fate.FINISHED, history_of(attempt.runner_prompt_id))

    monkeypatch.setattr(room.dispatcher._take_backs, "take_back", has_ended)
    monkeypatch.setattr(room.dispatcher, "_link_stood", lambda _attempt: False)
    answer = await submissions.submit(REQUEST, "")
    assert answer.status == 200
    job = room.registry.get(answer.job)
    assert (job.state, job.was_accepted) == (JobState.DISPATCHED, True)
    assert all(attempt.is_open for attempt in held)


async def busy_submission(room, submissions, monkeypatch, take_back):
    """Submits while every slot is taken; ``take_back`` stands for what becomes of the probe. Returns answer and job."""
    for name in ("x", "y"):
        await room.held(name)
    room.registry.start_counting(highest_seq=2, next_number=3)
    monkeypatch.setattr(room.dispatcher._take_backs, "take_back", take_back)
    answer = await submissions.submit(REQUEST, "")
    assert answer.status == 200, answer.body
    return answer, room.registry.get(answer.job)


async def test_a_prompt_that_was_taken_back_was_never_dispatched(room, submissions, monkeypatch):
    async def is_gone(runner, attempt):
        assert attempt.job.state is JobState.SUBMITTING
        return Found(Fate.GONE, never_began=True)

    _, job = await busy_submission(room, submissions, monkeypatch, is_gone)
    assert (job.state, job.was_accepted) == (JobState.PENDING, True)
    assert job.id in room.registry.waiting
    assert [change["state"] for change in as_list(job.changes)] == ["pending"]


async def test_a_prompt_that_its_runner_does_not_give_back_is_dispatched(room, submissions, monkeypatch):
    async def is_silent(runner, attempt):
        raise RunnerAmbiguous("gpu-0", "no answer")

    _, job = await busy_submission(room, submissions, monkeypatch, is_silent)
    assert (job.state, job.attempt.state) == (JobState.DISPATCHED, AttemptState.HELD)


async def test_a_prompt_whose_runner_is_lost_before_it_gives_it_back_is_asked_about_elsewhere(
    room, submissions, monkeypatch
):
    """Here nobody is left to be asked: by then it is stored that the prompt waits."""

    async def is_lost(runner, attempt):
        room.dispatcher.lost(attempt, "it is gone")
        raise RunnerUnreachable("gpu-0", "refused")

    answer, job = await busy_submission(room, submissions, monkeypatch, is_lost)
    assert (answer.runner, job.state) == (None, JobState.PENDING)
    assert [attempt.state for attempt in job.attempts] == [AttemptState.LOST]
    assert (await job_rows.load_job(room.db, job.id)).state == "pending"


async def test_of_two_that_choose_an_id_at_once_the_second_is_refused_also_when_the_first_has_ended(
    room, submissions, monkeypatch
):
    """The first ends, and leaves the registry, while the database is asked for the second."""
    of_stored, asked, ended = submissions._owner_of_stored, [], asyncio.Event()

    async def slow(wanted):
        asked.append(wanted)
        found = await of_stored(wanted)
        if len(asked) == 2:
            await ended.wait()
        return found

    monkeypatch.setattr(submissions, "_owner_of_stored", slow)
    chosen = str(uuid.uuid4())
    first, second = (asyncio.create_task(submissions.submit({**REQUEST, "prompt_id": chosen}, "")) for _ in range(2))
    assert (await first).status == 200
    attempt = room.registry.get(chosen).attempt
    room.runner.answer_to_prompt = (200, {"prompt_id": chosen, "number": 1, "node_errors": {}})
    room.finish(attempt)
    await room.endings.ended_on_runner(attempt, room.runner.history[chosen])
    ended.set()
    assert (await second).status == 400
    await room.db.flushed()
    assert (await job_rows.load_job(room.db, chosen)).state == "completed"
