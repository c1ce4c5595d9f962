"""What an operator does to the runners while jobs run on them. How a new list of runners differs from the old one is in
`gateway.runners.changes`, how the list is read in `gateway.reload`.

    move               the runner                                    its jobs
    add                its link opens at once; it takes work as      none
                       soon as it is ready
    enable             takes work at once                            stay
    disable            takes no new work                             what has not begun is taken back; what runs goes on
    drain              as disable                                    as disable; at the deadline what is left is moved
    remove             as drain; leaves the pool when its last job   as drain
                       has, and the files that only it has are
                       copied
    tags, prefetch,    changed in place                              stay; waiting ones are placed by the new values
    weight, who it is
    reserved for,
    place in the list
    headers            a new client and a new link                   stay; reconciled when the new link stands
    endpoint           a new client and a new link, after the        what has not begun is taken back; what runs stays
                       posts under way were answered                 if the new endpoint has it too, or does not answer
                                                                     yet (reconciled when it does); else it is moved

A job that is *moved* waits for another runner under its own id, and its old runner is told to drop it. This does not
count as a loss: neither against the retries of the job nor as a sign of a poison prompt.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import structlog

from gateway.clock import Clock
from gateway.config import RunnerConfig
from gateway.jobs.dispatch import Dispatcher
from gateway.jobs.endings import Endings
from gateway.jobs.job import Attempt, Job
from gateway.jobs.post import Fate, look
from gateway.jobs.registry import Registry
from gateway.jobs.states import AttemptState, JobState
from gateway.runners.changes import Change, ChangeKind, compare, difference
from gateway.runners.client import RunnerClient
from gateway.runners.errors import RunnerError
from gateway.runners.pool import Pool
from gateway.runners.runner import Runner
from gateway.storage.errors import StorageError

AGAIN_SECONDS = 1.0  # between two tries to take jobs back from a runner that did not answer
TAKE_OFF_SECONDS = 5.0  # for a runner to hear that it need not go on with a job
IN_FLIGHT = frozenset({AttemptState.POSTING, AttemptState.PROBING})

log = structlog.get_logger(__name__)


class UnknownRunner(LookupError):
    """No runner of that name is in the pool, or it is about to leave."""


@dataclass(slots=True)
class Leaving:
    """A runner that is being emptied. ``deadline``: monotonic seconds, None for none; ``removes``: it then goes."""

    deadline: float | None
    removes: bool
    task: asyncio.Task[None] | None = None


class Fleet:
    """The operator's moves, see the table at the top of this module. It is a Watcher of the registry.

    Args:
        make_runner: makes a runner of the pool from its configuration, not started.
        rescue: copies the files that only the runner of that name has.
        drain_seconds: how long a drained or removed runner may keep its jobs, where the move itself does not say.
    """

    def __init__(
        self,
        pool: Pool,
        registry: Registry,
        dispatcher: Dispatcher,
        endings: Endings,
        clock: Clock,
        *,
        make_runner: Callable[[RunnerConfig], Runner],
        rescue: Callable[[str], Awaitable[Any]],
        drain_seconds: float,
    ) -> None:
        self._pool = pool
        self._registry = registry
        self._dispatcher = dispatcher
        self._endings = endings
        self._clock = clock
        self._make_runner = make_runner
        self._rescue = rescue
        self._drain_seconds = drain_seconds
        self._leaving: dict[str, Leaving] = {}
        self._turned: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._retiring: set[asyncio.Task[None]] = set()
        self._applying = asyncio.Lock()
        self._changing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # of each runner
        registry.watchers.append(self)

    # Watcher

    def job_turned(self, job: Job, was: JobState) -> None:
        """See Watcher."""

    def attempt_turned(self, attempt: Attempt, was: AttemptState, reason: str) -> None:
        """See Watcher."""
        self._turned[attempt.runner].set()

    # life

    def start(self) -> None:
        """Starts the runners that are in the pool, and empties those that are not active."""
        for runner in self._pool:
            runner.start()
            self._follow_status(runner)

    async def close(self) -> None:
        """Ends every move under way; the next life of the gateway begins it anew."""
        tasks = [leaving.task for leaving in self._leaving.values() if leaving.task is not None]
        tasks += self._retiring
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # moves

    def leaving(self, name: str) -> Leaving | None:
        """How far a runner is on its way out, None where it is not."""
        return self._leaving.get(name)

    def add(self, config: RunnerConfig) -> None:
        """Takes a runner in. Raises ValueError: there is one of that name."""
        if self._pool.get(config.name) is not None:
            raise ValueError(f"there is a runner {config.name} already")
        runner = self._make_runner(config)
        self._pool.add(runner)
        runner.start()
        self._follow_status(runner)

    def enable(self, name: str) -> None:
        """Lets a runner take work. Raises UnknownRunner."""
        self._set_status(self._staying(name), "active")

    def disable(self, name: str) -> None:
        """No new work for a runner; what it runs goes on. Raises UnknownRunner."""
        self._set_status(self._staying(name), "disabled")

    def drain(self, name: str, seconds: float | None = None) -> None:
        """No new work for a runner; what is left after so many seconds is moved. Raises UnknownRunner."""
        self._set_status(self._staying(name), "drain", seconds)

    def remove(self, name: str, seconds: float | None = None) -> None:
        """Drains a runner, and lets it go when it is empty. Raises UnknownRunner."""
        runner = self._staying(name)
        runner.reconfigure(runner.config.model_copy(update={"status": "drain"}))
        self._empty(runner, seconds if seconds is not None else self._drain_seconds, removes=True)

    async def change(self, config: RunnerConfig) -> None:
        """Gives the runner of that name another configuration. Raises UnknownRunner."""
        await self.settle(config.name, lambda: config)

    async def settle(self, name: str, wanted: Callable[[], RunnerConfig]) -> None:
        """As `change`, for a configuration that may change until its turn has come. Raises UnknownRunner."""
        async with self._changing[name]:
            runner = self._staying(name)
            change = compare(runner.config, wanted())
            if change is not None:
                await self._change(runner, change)

    async def apply(self, wanted: Sequence[RunnerConfig]) -> list[Change]:
        """Makes the pool what a new list of runners says. Returns what differed.

        Runners that were added take work before those that change have finished to.
        """
        return await self.follow(lambda: wanted)

    async def follow(self, wanted: Callable[[], Sequence[RunnerConfig]]) -> list[Change]:
        """As `apply`, for a list that may change until its turn has come."""
        async with self._applying:
            staying = [runner.config for runner in self._pool if not self._is_removed(runner.name)]
            changes = difference(staying, wanted())
            await asyncio.gather(*(self._apply(change, wanted) for change in changes))
            self._pool.arrange([config.name for config in wanted()])
        self._dispatcher.schedule()
        return changes

    async def _apply(self, change: Change, wanted: Callable[[], Sequence[RunnerConfig]]) -> None:
        log.info("runner.changed", runner=change.name, change=change.kind.value, keys=list(change.keys))
        if self._pool.get(change.name) is None:
            self.add(change.config)
            return
        with suppress(UnknownRunner):  # it was removed by another move meanwhile
            if change.kind is ChangeKind.REMOVED:
                self.remove(change.name)
                return
            if change.kind is ChangeKind.ADDED:  # it was about to leave
                self._stay(change.name)
            await self.settle(
                change.name, lambda: next((each for each in wanted() if each.name == change.name), change.config)
            )

    async def _change(self, runner: Runner, change: Change) -> None:
        if change.kind is ChangeKind.RECONNECTED:
            await self._reconnect(runner, change)
            self._follow_status(runner)
            return
        runner.reconfigure(change.config)
        if "status" in change.keys:
            self._follow_status(runner)
        self._dispatcher.schedule()

    # status

    def _staying(self, name: str) -> Runner:
        runner = self._pool.get(name)
        if runner is None or self._is_removed(name):
            raise UnknownRunner(name)
        return runner

    def _is_removed(self, name: str) -> bool:
        return name in self._leaving and self._leaving[name].removes

    def _set_status(
        self, runner: Runner, status: Literal["active", "disabled", "drain"], seconds: float | None = None
    ) -> None:
        runner.reconfigure(runner.config.model_copy(update={"status": status}))
        self._follow_status(runner, seconds)

    def _follow_status(self, runner: Runner, seconds: float | None = None) -> None:
        if runner.config.status == "active":
            self._stay(runner.name)
            self._dispatcher.schedule()
        elif runner.config.status == "disabled":
            self._empty(runner, None, removes=False)
        else:
            self._empty(runner, seconds if seconds is not None else self._drain_seconds, removes=False)

    def _stay(self, name: str) -> None:
        leaving = self._leaving.pop(name, None)
        if leaving is not None and leaving.task is not None:
            leaving.task.cancel()

    # emptying a runner

    def _empty(self, runner: Runner, seconds: float | None, *, removes: bool) -> None:
        self._stay(runner.name)
        deadline = None if seconds is None else self._clock.monotonic() + seconds
        leaving = self._leaving[runner.name] = Leaving(deadline, removes)
        leaving.task = asyncio.create_task(self._until_empty(runner, leaving), name=f"empty {runner.name}")

    async def _until_empty(self, runner: Runner, leaving: Leaving) -> None:
        turned = self._turned[runner.name]
        while True:
            turned.clear()
            await self._take_off(runner, leaving)
            left = self._registry.attempts_on(runner.name)
            if not left:
                break
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause(leaving, left)):
                    await turned.wait()
        log.info("runner.empty", runner=runner.name, removes=leaving.removes)
        if leaving.removes:
            await self._let_go(runner)

    def _pause(self, leaving: Leaving, left: list[Attempt]) -> float | None:
        """Seconds until something is to be done, if nothing happens before; None: not of itself."""
        until_deadline = None if leaving.deadline is None else leaving.deadline - self._clock.monotonic()
        if until_deadline is not None and until_deadline <= 0:
            return AGAIN_SECONDS
        if all(attempt.state is AttemptState.RUNNING for attempt in left):
            return until_deadline
        return AGAIN_SECONDS if until_deadline is None else min(AGAIN_SECONDS, until_deadline)

    async def _take_off(self, runner: Runner, leaving: Leaving) -> None:
        """Takes back what has not begun; moves the rest once the deadline has passed."""
        await self._take_back(runner)
        for attempt in self._registry.attempts_on(runner.name):
            if leaving.deadline is not None and self._clock.monotonic() >= leaving.deadline:
                await self._move(attempt, runner.client, "its runner was drained")

    async def _take_back(self, runner: Runner) -> None:
        for attempt in self._registry.attempts_on(runner.name):
            if attempt.state is not AttemptState.HELD or not runner.is_ready:
                continue
            try:
                await self._dispatcher.withdraw(attempt)
            except StorageError as error:  # it was found ended; reconciling writes that down later
                log.error("runner.not_emptied", runner=runner.name, reason=str(error))

    async def _let_go(self, runner: Runner) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._drain_seconds):
                await self._rescue(runner.name)
        self._pool.remove(runner.name)
        del self._leaving[runner.name]
        self._changing.pop(runner.name, None)
        log.info("runner.removed", runner=runner.name)
        self._retire(runner.retire(self._drain_seconds))
        self._dispatcher.schedule()

    def _retire(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    # another endpoint, other headers

    async def _reconnect(self, runner: Runner, change: Change) -> None:
        self._stay(runner.name)
        runner.reconfigure(change.config.model_copy(update={"status": "disabled"}))  # nothing new meanwhile
        with suppress(TimeoutError):
            async with asyncio.timeout(self._drain_seconds):
                await self._posts_answered(runner.name)
        is_elsewhere = "endpoint" in change.keys
        if is_elsewhere:
            await self._take_back(runner)
        old = await runner.move_to(change.config)
        try:
            if is_elsewhere:
                await self._move_what_is_not_at(runner, old)
        finally:
            runner.start()
            self._retire(old.retire(self._drain_seconds))

    async def _posts_answered(self, name: str) -> None:
        turned = self._turned[name]
        while any(attempt.state in IN_FLIGHT for attempt in self._registry.attempts_on(name)):
            turned.clear()
            await turned.wait()

    async def _move_what_is_not_at(self, runner: Runner, old: RunnerClient) -> None:
        for attempt in self._registry.attempts_on(runner.name):
            try:
                found = await look(runner, attempt.runner_prompt_id)
            except RunnerError as error:
                log.info("runner.not_asked", runner=runner.name, job=attempt.job.id, reason=error.reason)
                return  # reconciling tells, when the new endpoint answers
            if found.fate is Fate.GONE:
                await self._move(attempt, old, "its runner has another endpoint now, which does not have it")

    # moving a job

    async def _move(self, attempt: Attempt, client: RunnerClient, reason: str) -> None:
        """Takes a job from its runner, unless it is about to end; the runner is told to drop it."""
        if not attempt.is_open or attempt.is_closing or attempt.terminal is not None or attempt.state in IN_FLIGHT:
            return
        self._endings.moved(attempt, reason)
        self._dispatcher.schedule()
        runner_prompt_id = attempt.runner_prompt_id
        try:
            await client.request("POST", "/queue", json={"delete": [runner_prompt_id]}, timeout=TAKE_OFF_SECONDS)
            await client.request("POST", "/interrupt", json={"prompt_id": runner_prompt_id}, timeout=TAKE_OFF_SECONDS)
        except RunnerError as error:
            log.warning("job.not_taken_off", job=attempt.job.id, runner=attempt.runner, reason=error.reason)
