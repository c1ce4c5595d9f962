"""Taking prompts that have not begun back from runners, many with one call: a busy pool validates every submission this
way. What follows from where a prompt was found is the dispatcher's to decide.

Per runner one round is under way at a time; what is asked for meanwhile goes with the next one. The steps of a round:

    1. POST /queue deletes all of them that have not begun; those that have go on undisturbed
    2. GET /queue tells which run, and which are still queued
    3. of the others each was deleted, or has begun and ended before step 1. Deleted for certain: one that was queued
       behind everything, while something that was ahead of it at that time is still there. Else its history tells

``POST /api/jobs/{id}/cancel`` is not used for this: it interrupts a job that has just begun.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from gateway.jobs.job import Attempt
from gateway.jobs.post import Fate, Found, history_entry
from gateway.runners.errors import RunnerAmbiguous, RunnerError
from gateway.runners.runner import Runner

MOST_AT_ONCE = 200  # prompts of one round


@dataclass(frozen=True, slots=True)
class _Asked:
    """A prompt that is to be taken back, and the answer to it."""

    attempt: Attempt
    found: asyncio.Future[Found]

    def tell(self, found: Found) -> None:
        """Tells who waits, if somebody still does."""
        if not self.found.done():
            self.found.set_result(found)

    def fail(self, error: RunnerError) -> None:
        """The same where it is not known."""
        if not self.found.done():
            self.found.set_exception(error)


@dataclass(slots=True, eq=False)
class _Rounds:
    """What one runner is asked for."""

    waiting: list[_Asked] = field(default_factory=list)
    task: asyncio.Task[None] | None = None


class TakeBacks:
    """Takes prompts back from all runners."""

    def __init__(self) -> None:
        self._rounds: dict[Runner, _Rounds] = {}

    async def take_back(self, runner: Runner, attempt: Attempt) -> Found:
        """Takes a prompt out of its runner's queue if it has not begun, and tells where it stands then.

        Raises RunnerError: whether it was taken back is not known.
        """
        rounds = self._rounds.setdefault(runner, _Rounds())
        asked = _Asked(attempt, asyncio.get_running_loop().create_future())
        rounds.waiting.append(asked)
        if rounds.task is None:
            rounds.task = asyncio.create_task(self._go_through(runner, rounds))
        return await asked.found

    async def close(self) -> None:
        """Gives up what is under way; who waits for it is cancelled."""
        tasks = [rounds.task for rounds in self._rounds.values() if rounds.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _go_through(self, runner: Runner, rounds: _Rounds) -> None:
        some: list[_Asked] = []
        try:
            while rounds.waiting:
                some, rounds.waiting = rounds.waiting[:MOST_AT_ONCE], rounds.waiting[MOST_AT_ONCE:]
                await _round(runner, some)
        finally:
            del self._rounds[runner]
            for asked in (*some, *rounds.waiting):
                asked.found.cancel()  # nothing where it has its answer


async def _round(runner: Runner, some: list[_Asked]) -> None:
    """Every one of them gets its answer, or its RunnerError."""
    try:
        reply = await runner.client.request(
            "POST", "/queue", json={"delete": [asked.attempt.runner_prompt_id for asked in some]}
        )
        if not reply.ok:
            raise RunnerAmbiguous(runner.name, f"POST /queue answered {reply.status}")
        queue = await runner.client.get_json("/queue")
    except RunnerError as error:
        for asked in some:
            asked.fail(error)
        return
    running, pending = _ids(queue.get("queue_running")), _ids(queue.get("queue_pending"))
    unseen = []
    for asked in some:
        found = _in_queue(asked.attempt, running, pending)
        if found is None:
            unseen.append(asked)
        else:
            asked.tell(found)
    await asyncio.gather(*(_tell_by_history(runner, asked) for asked in unseen))


def _in_queue(attempt: Attempt, running: set[str], pending: set[str]) -> Found | None:
    """Where a prompt stands by its runner's queue; None where only the history can tell."""
    if attempt.runner_prompt_id in running:
        return Found(Fate.RUNNING)
    if attempt.runner_prompt_id in pending:
        return Found(Fate.PENDING)
    if not (attempt.behind.isdisjoint(running) and attempt.behind.isdisjoint(pending)):
        return Found(Fate.GONE, never_began=True)
    return None


async def _tell_by_history(runner: Runner, asked: _Asked) -> None:
    try:
        entry = await history_entry(runner, asked.attempt.runner_prompt_id)
    except RunnerError as error:
        asked.fail(error)
    else:
        asked.tell(Found(Fate.GONE) if entry is None else Found(Fate.FINISHED, entry))


def _ids(items: Any) -> set[str]:
    return {str(item[1]) for item in items or () if isinstance(item, list) and len(item) > 1}
