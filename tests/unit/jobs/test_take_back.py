"""Taking prompts back: many with one call, each told where it stands, and a history asked only where it must be."""

import asyncio

import pytest

from gateway.jobs.post import Fate
from gateway.jobs.states import AttemptState
from gateway.jobs.take_back import TakeBacks
from gateway.runners.errors import RunnerAmbiguous, RunnerError

DELETE = "/queue"


def asked_for(room, kind):
    return [path for method, path, _ in room.runner.calls if method == "GET" and path.startswith(kind)]


async def probes(room, *names):
    """Attempts posted behind everything, as a submission to a busy pool does."""
    made = []
    for name in names:
        job = await room.pending(name)
        attempt = room.registry.new_attempt(job, "gpu-0", probe=True)
        attempt.behind = room.registry.certainly_before(attempt)
        room.runner.pending.append(attempt.runner_prompt_id)
        made.append(attempt)
    return made


@pytest.fixture
async def take_backs():
    made = TakeBacks()
    yield made
    await made.close()


async def all_of(room, take_backs, attempts):
    room.runner.calls.clear()
    return await asyncio.gather(*(take_backs.take_back(room.runner, attempt) for attempt in attempts))


async def test_what_is_asked_for_together_costs_two_calls(room, take_backs):
    await room.running("busy")
    attempts = await probes(room, *"abcde")
    found = await all_of(room, take_backs, attempts)
    assert {each.fate for each in found} == {Fate.GONE}
    assert room.runner.pending == []
    assert room.runner.did(DELETE) == [{"delete": [attempt.runner_prompt_id for attempt in attempts]}]
    assert len(room.runner.calls) == 2


async def test_what_comes_during_a_round_goes_with_the_next(room, take_backs):
    await room.running("busy")
    first, second, third = await probes(room, *"abc")
    room.runner.calls.clear()
    rounds = [asyncio.create_task(take_backs.take_back(room.runner, first))]
    while not room.runner.did(DELETE):
        await asyncio.sleep(0)
    rounds += [asyncio.create_task(take_backs.take_back(room.runner, each)) for each in (second, third)]
    await asyncio.gather(*rounds)
    assert [len(body["delete"]) for body in room.runner.did(DELETE)] in ([1, 2], [3])


async def test_the_history_is_asked_where_nothing_shows_that_it_has_not_begun(room, take_backs):
    """What was ahead has left the runner: a prompt that is not in the queue may have begun and ended."""
    busy = await room.running("busy")
    ended, deleted = await probes(room, "a", "b")
    room.runner.running.remove(busy.runner_prompt_id)
    room.runner.pending.remove(ended.runner_prompt_id)
    room.runner.history[ended.runner_prompt_id] = {"outputs": {}}
    found = await all_of(room, take_backs, [ended, deleted])
    assert [each.fate for each in found] == [Fate.FINISHED, Fate.GONE]
    assert len(asked_for(room, "/history/")) == 2


async def test_another_probe_ahead_shows_nothing(room, take_backs):
    """Both stand at the very end: which of them begins first is not known."""
    one, other = await probes(room, "a", "b")
    room.registry.turn_attempt(one, AttemptState.HELD)
    assert room.registry.certainly_before(other) == frozenset()


async def test_one_that_has_begun_is_told_to_run(room, take_backs):
    await room.running("busy")
    begun, waiting = await probes(room, "a", "b")
    room.runner.pending.remove(begun.runner_prompt_id)
    room.runner.running.append(begun.runner_prompt_id)
    found = await all_of(room, take_backs, [begun, waiting])
    assert [each.fate for each in found] == [Fate.RUNNING, Fate.GONE]


async def test_all_of_a_round_hear_that_the_runner_did_not_answer(room, take_backs):
    attempts = await probes(room, "a", "b")
    room.runner.failure = RunnerAmbiguous("gpu-0", "no answer")
    tries = [take_backs.take_back(room.runner, attempt) for attempt in attempts]
    assert all(isinstance(each, RunnerError) for each in await asyncio.gather(*tries, return_exceptions=True))
    room.runner.failure = None
    assert (await take_backs.take_back(room.runner, attempts[0])).fate is Fate.GONE


async def test_one_that_is_not_waited_for_any_more_harms_no_other(room, take_backs):
    await room.running("busy")
    first, second = await probes(room, "a", "b")
    given_up = asyncio.create_task(take_backs.take_back(room.runner, first))
    other = asyncio.create_task(take_backs.take_back(room.runner, second))
    await asyncio.sleep(0)
    given_up.cancel()
    assert (await other).fate is Fate.GONE
