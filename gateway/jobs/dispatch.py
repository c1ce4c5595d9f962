"""Late binding: whenever a slot is free, the job that is due first and fits is given to that runner, and not before.
The slot behind a job that runs opens shortly before that one ends (`openings`), and the dispatcher wakes up for it.

The steps of a dispatch, each of which survives a crash after it:

    1. the slot is reserved: the attempt is registered (POSTING), so no event can come too early
    2. the intent is written to the database
    3. the inputs are staged on the runner
    4. the prompt is posted; then by the answer
         accepted      HELD
         refused       the runner stops being eligible for this job; it waits for another, or fails with its words
         not delivered the job waits again, at once; where an input file cannot be had, after a while (`aside`)
         in doubt      the runner is looked at; while it does not answer, the attempt stays IN_DOUBT for reconciling
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import structlog
from blake3 import blake3

from gateway.clock import Clock
from gateway.comfyui import apart
from gateway.config import RunnerConfig
from gateway.files.staging import Staging, StagingError
from gateway.jobs.aside import Aside
from gateway.jobs.drawing import Drawing
from gateway.jobs.endings import Endings
from gateway.jobs.forecast import Expected, Forecaster
from gateway.jobs.job import Attempt, Job
from gateway.jobs.post import (
    Accepted,
    Fate,
    Found,
    InDoubt,
    Outcome,
    Refused,
    Undelivered,
    drop,
    in_clients_words,
    interrupt,
    look,
    post,
)
from gateway.jobs.registry import Registry
from gateway.jobs.scheduler import Scheduler
from gateway.jobs.states import AttemptState, JobState
from gateway.jobs.stranded import Stranded
from gateway.jobs.take_back import TakeBacks
from gateway.jobs.views import Views
from gateway.jobs.wake_up import WakeUp
from gateway.runners.errors import RunnerError
from gateway.runners.pool import Pool
from gateway.runners.runner import Runner
from gateway.scheduling import placement
from gateway.scheduling.placement import Judge, Placement, RunnerView
from gateway.scheduling.policies import Policy
from gateway.scheduling.warm import WarmFirst
from gateway.storage.errors import StorageError

CLOSING_SECONDS = 5.0  # for dispatches under way when the gateway stops; what is cut is found again at the next start
PAUSE_SECONDS = 1.0  # before a job waits again whose trouble is not the runner's: no other event slows the next try

MARK_CHARACTERS = 16

log = structlog.get_logger(__name__)


def _apart(prompt: dict[str, Any], runner: Runner, owner: str) -> dict[str, Any]:
    """The prompt as it is posted: no file that the runner wrote for another owner is given to this one."""
    if not owner:
        return prompt
    mark = blake3(f"{runner.link.sid}/{owner}".encode()).hexdigest()[:MARK_CHARACTERS]
    return apart.marked(prompt, runner.facts.object_info, mark)  # type: ignore[no-any-return]


class Dispatcher:
    """Gives jobs to runners. ``schedule`` is called whenever something changed that could free or fill a slot.

    ``on_another_id``, to be set before anything is sent, is awaited when a runner has given a job an id of its own.
    """

    def __init__(
        self,
        registry: Registry,
        pool: Pool,
        staging: Staging,
        endings: Endings,
        clock: Clock,
        *,
        post_timeout_seconds: float,
        policy: Policy | None = None,
    ) -> None:
        self._registry = registry
        self._pool = pool
        self._staging = staging
        self._endings = endings
        self._post_timeout = post_timeout_seconds
        self.on_another_id: Callable[[Runner, Attempt], Awaitable[None]]
        self._judge = Judge()
        self._views = Views(registry, pool)
        self.scheduler = Scheduler(registry, pool, clock, policy or WarmFirst(), self._judge)
        self.drawing = Drawing(registry, pool, self.scheduler, self.schedule)
        self._forecaster = Forecaster(registry, pool, self.scheduler, clock)
        self._clock = clock
        self._wake_up = WakeUp(clock, self.schedule)
        self._take_backs = TakeBacks()
        self._tasks: set[asyncio.Task[None]] = set()
        self._withdrawals: dict[str, asyncio.Event] = {}  # under way, by job
        self._is_open = False
        self._is_to_schedule = False
        self._pool_seen: list[tuple[int, RunnerConfig]] = []  # by its runners' catalogues and configuration
        self._aside = Aside(registry, self.schedule)
        self._stranded = Stranded(registry, endings, self._judge, self.drawing)
        self.undropped: set[str] = set()  # runners that could not be told to drop what they may have

    def open(self) -> None:
        """From now on jobs are given out; before, jobs of an earlier life are being found again."""
        self._is_open = True
        self.schedule()

    async def drain(self) -> None:
        """No more is given out from now on; returns when the dispatches under way have ended."""
        self._is_open = False
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """No more is given out; dispatches under way are awaited for a while, unless they have been before."""
        if self._is_open:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.drain(), CLOSING_SECONDS)
        self._aside.close()
        self._wake_up.off()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._take_backs.close()
        await self.drawing.close()

    # policy

    def views(self) -> list[RunnerView]:
        """What policy sees of the pool now."""
        return self._views.all()

    def place(self, job: Job, *, but: frozenset[str] = frozenset()) -> str | None:
        """The runner that policy would give a job to now, which does not wait yet. None: it would wait."""
        return self.scheduler.place(job, self.views(), but) if self._opens_in() <= 0 else None

    def eligible(self, job: Job, *, but: frozenset[str] = frozenset()) -> list[RunnerView]:
        """Runners that could be given the job now or later: up, active and equipped for it."""
        refused = frozenset(job.refused_by) | but
        return placement.eligible(job.needs, self.views(), self._judge, refused)

    def could_wait_for_one(self, job: Job) -> bool:
        """True when a registered runner would do if it were up and free."""
        return placement.could_become_eligible(job.needs, self.views(), self._judge)

    def unfit(self, job: Job) -> str | None:
        """Why no runner of the pool could ever run a job, runner by runner; None while one could, up or not."""
        return placement.stranded(job.needs, self.views(), self._judge, job.refused_by)

    def expected(self, jobs: Iterable[Job]) -> dict[str, Expected]:
        """When jobs that have not ended are expected to begin and to end, by id, as far as that can be told."""
        return self._forecaster.of(jobs, self.views())

    def explain(self, job: Job) -> Placement:
        """Where the job would go now, and why."""
        found = self.scheduler.explained(job, self.views())
        if self._registry.waiting.is_held_back(job.id):
            return replace(found, runner=None, reason="its client's jobs run one at a time, and it is not its turn")
        if not self._registry.may_start(job.owner):
            return replace(found, runner=None, reason="its owner has as many jobs on runners as it may have")
        if job.id in self._aside:
            return replace(found, runner=None, reason=f"tried again soon: {job.reason}")
        return found

    def schedule(self) -> None:
        """Fills every free slot with the job that is due first among those that fit."""
        if not self._is_open:
            return
        pool = [(runner.catalogue_version, runner.config) for runner in self._pool]
        if pool != self._pool_seen:
            self._pool_seen = pool
            self.drawing.pool_changed()
        self._stranded.end(pool, self.views)
        while self._registry.waiting and self._opens_in() <= 0:
            if not self._assign_one():
                return
        self._wake_up.move(self._opens_in() if self._registry.waiting else math.inf)

    def _opens_in(self) -> float:
        """Seconds until a runner may be given a job; which jobs fit it is not looked at."""
        return self.scheduler.openings.soonest(self._pool)

    def _schedule_soon(self) -> None:
        """Many are taken back at once: one look at the slots is enough for all of them."""
        if not self._is_to_schedule:
            self._is_to_schedule = True
            asyncio.get_running_loop().call_soon(self._scheduled)

    def _scheduled(self) -> None:
        self._is_to_schedule = False
        self.schedule()

    def _assign_one(self) -> bool:
        views = self.views()
        decision = self.scheduler.pick(views)
        job = self._registry.get(decision.job) if decision is not None else None
        if decision is None or job is None:
            next_opens_in = self.scheduler.openings.soonest(self._pool, but_now=True)
            self._wake_up.move(min(next_opens_in, self.scheduler.looks_again_in(views)))
            return False
        if self.drawing.is_another(job.id):
            return True
        log.debug("job.placed", job=job.id, runner=decision.runner, reason=decision.reason, load=decision.load)
        attempt = self._registry.new_attempt(job, decision.runner, probe=False)
        self._registry.turn(job, JobState.DISPATCHED, f"{decision.runner}: {decision.reason}")
        self.scheduler.gave(decision)
        self._spawn(self._dispatch(attempt))
        return True

    # one dispatch

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _dispatch(self, attempt: Attempt) -> None:
        began = self._clock.monotonic()
        try:
            outcome = await self._stored_and_sent(attempt)
            if isinstance(outcome, Accepted):
                self.scheduler.openings.dispatched(attempt.runner, self._clock.monotonic() - began)
            await self.settle(attempt, outcome)
        except Exception:  # a fault of the gateway's own must not keep a slot taken for ever
            log.error("dispatch.failed", job=attempt.job.id, runner=attempt.runner, exc_info=True)
            if attempt.state is AttemptState.POSTING:
                self._registry.turn_attempt(attempt, AttemptState.IN_DOUBT, "its dispatch failed")

    async def _stored_and_sent(self, attempt: Attempt) -> Outcome:
        try:
            await self._registry.store_attempt(attempt)
        except StorageError as error:
            await asyncio.sleep(PAUSE_SECONDS)
            return Undelivered(str(error))
        return await self.send(attempt, at_the_end=False)

    async def send(self, attempt: Attempt, *, at_the_end: bool) -> Outcome:
        """Stages the inputs and posts. An answer with another id is registered before this returns."""
        runner = self._pool.get(attempt.runner)
        if runner is None:
            return Undelivered("the runner is no longer in the pool")
        job = attempt.job
        try:
            staged = await self._staging.stage(job.prompt, runner.client, str(runner.boot), job.owner)
        except StagingError as error:
            if error.runner_failed:
                runner.suspect(str(error))
            return Undelivered(str(error), input_failed=not error.runner_failed)
        attempt.replaced = dict(staged.replaced)
        attempt.boot = runner.boot
        if at_the_end:
            attempt.behind = self._registry.certainly_before(attempt)
        prompt = _apart(staged.prompt, runner, job.owner)
        outcome = await post(runner, attempt, prompt, at_the_end=at_the_end, timeout=self._post_timeout)
        if isinstance(outcome, Refused) and staged.replaced:
            outcome = in_clients_words(outcome, staged.prompt, staged.replaced)
        if isinstance(outcome, Accepted) and outcome.runner_prompt_id != attempt.runner_prompt_id:
            self._registry.answer_to_another_id(attempt, outcome.runner_prompt_id)
            await self.on_another_id(runner, attempt)
        if isinstance(outcome, Undelivered | InDoubt):
            runner.suspect(outcome.reason)
        else:
            runner.took_a_prompt()
        return outcome

    async def settle(self, attempt: Attempt, outcome: Outcome) -> None:
        """Draws the consequence of a post of a job that has been accepted before."""
        if not attempt.is_open:
            return  # its events were faster, or the runner was lost meanwhile
        if isinstance(outcome, Accepted):
            attempt.job.was_accepted = True
            attempt.job.input_failures = 0
            self.held(attempt)
            await self.obey(attempt)
        elif isinstance(outcome, Refused):
            self._refused(attempt, outcome)
        elif isinstance(outcome, Undelivered):
            self._wait_again(attempt, outcome)
        else:
            await self.resolve_doubt(attempt, outcome)

    def abandon(self, attempt: Attempt, reason: str) -> None:
        """Gives up an attempt of a job that was not accepted; a runner that may have it is told to drop it."""
        if attempt.boot is None:
            self._registry.turn_attempt(attempt, AttemptState.UNDELIVERED, reason)
        else:
            self._registry.turn_attempt(attempt, AttemptState.LOST, reason)
            self._spawn(self._drop(attempt))
        self.schedule()

    async def _drop(self, attempt: Attempt) -> None:
        runner = self._pool.get(attempt.runner)
        if runner is None:
            return
        try:
            await drop(runner, attempt.runner_prompt_id)
        except RunnerError as error:
            self.undropped.add(runner.name)
            runner.suspect(error.reason)

    def held(self, attempt: Attempt) -> None:
        """The runner has it, and may have begun already."""
        if attempt.state in (AttemptState.POSTING, AttemptState.PROBING, AttemptState.IN_DOUBT):
            self._registry.turn_attempt(attempt, AttemptState.HELD)

    async def withdraw(self, attempt: Attempt) -> Found | None:
        """Takes a job that has not begun back from its runner.

        Returns what was found: GONE means that it is the gateway's again, and its job is PENDING, or CANCELLED where
        that was asked for. None: the runner did not answer, reconciling will tell.
        """
        runner = self._pool.get(attempt.runner)
        if runner is None or not attempt.is_open or attempt.is_being_withdrawn:
            return None
        attempt.is_being_withdrawn = True
        over = self._withdrawals[attempt.job.id] = asyncio.Event()
        try:
            found = await self._take_backs.take_back(runner, attempt)
            has_not_run = found.fate is not Fate.GONE or found.never_began or await self._still_stands(runner, attempt)
            await self.apply(attempt, found, when_gone=AttemptState.WITHDRAWN if has_not_run else AttemptState.LOST)
        except RunnerError as error:
            runner.suspect(error.reason)
            return None
        finally:
            attempt.is_being_withdrawn = False
            self._withdrawals.pop(attempt.job.id, None)
            over.set()
        return found

    async def withdrawn(self, job: Job) -> None:
        """Returns once no withdrawal of the job is under way, whoever has begun it: a health check may have."""
        over = self._withdrawals.get(job.id)
        if over is not None:
            await over.wait()

    async def obey(self, attempt: Attempt) -> bool:
        """Carries out on the runner what clients have asked for, a cancellation or a deletion.

        Returns False if nothing is asked for, or the job has ended or goes on all the same. Where the runner does not
        answer this is tried again with every reconciling.
        """
        job = attempt.job
        if not job.is_unwanted:
            return False
        if attempt.state in (AttemptState.HELD, AttemptState.IN_DOUBT):
            found = await self.withdraw(attempt)
            if found is None:
                return attempt.is_open or job.is_in(JobState.CANCELLED)
            if found.fate in (Fate.GONE, Fate.PENDING):
                return True
        if attempt.state is AttemptState.RUNNING and job.cancel_requested:
            return await self._interrupt(attempt)
        return False

    async def _interrupt(self, attempt: Attempt) -> bool:
        runner = self._pool.get(attempt.runner)
        if attempt.is_closing or attempt.terminal is not None:
            return attempt.is_interrupted  # it has just ended: an interrupt now could hit the next one
        if runner is None:
            return True
        try:
            if await interrupt(runner, attempt.runner_prompt_id):
                attempt.is_interrupted = True
            return attempt.is_interrupted
        except RunnerError as error:
            log.warning("job.interrupt_not_delivered", job=attempt.job.id, runner=runner.name, reason=error.reason)
            runner.suspect(error.reason)
        return True

    async def resolve_doubt(self, attempt: Attempt, outcome: InDoubt) -> Found | None:
        """Looks at the runner whether it has what was sent to it; the prompt is not sent again before that is known."""
        if attempt.state in (AttemptState.POSTING, AttemptState.PROBING):
            self._registry.turn_attempt(attempt, AttemptState.IN_DOUBT, outcome.reason)
        runner = self._pool.get(attempt.runner)
        try:
            found = await look(runner, attempt.runner_prompt_id) if runner is not None else Found(Fate.GONE)
        except RunnerError as error:
            log.warning("attempt.in_doubt", job=attempt.job.id, runner=attempt.runner, reason=error.reason)
            return None
        await self.apply(attempt, found, when_gone=AttemptState.LOST)
        return found

    async def apply(self, attempt: Attempt, found: Found, *, when_gone: AttemptState) -> None:
        """Brings an attempt to where the runner says it stands."""
        if not attempt.is_open or attempt.is_closing:
            return
        if found.fate is not Fate.GONE:
            attempt.job.was_accepted = True  # a runner has it, so a runner has validated it
        if found.fate is Fate.RUNNING:
            self._registry.started(attempt)
            if self._endings.misses_start(attempt, link_stood=self._link_stood(attempt)):
                self._reopen_link(attempt)
        elif found.fate is Fate.PENDING:
            self.held(attempt)
        elif found.fate is Fate.FINISHED:
            self.held(attempt)
            if await self._endings.found_ended(attempt, found.entry, link_stood=self._link_stood(attempt)):
                self._reopen_link(attempt)
        elif when_gone is AttemptState.LOST:
            self.lost(attempt, "the runner has no trace of it")
        else:
            self._registry.turn_attempt(attempt, when_gone)
            self._back_in_line(attempt.job, "taken back from its runner")
            self._schedule_soon()

    def lost(self, attempt: Attempt, reason: str) -> None:
        """The attempt will not end on its runner any more."""
        self._endings.lost(attempt, reason)
        self.schedule()

    def has_another_runner(self, job: Job, but: str = "") -> bool:
        """True when a registered runner would do that has not refused the job, and is not the one named."""
        others = [view for view in self.views() if view.name != but and view.name not in job.refused_by]
        return placement.could_become_eligible(job.needs, others, self._judge)

    def _reopen_link(self, attempt: Attempt) -> None:
        runner = self._pool.get(attempt.runner)
        if runner is not None:
            self._spawn(runner.reopen_link(f"it tells nothing of {attempt.runner_prompt_id}"))

    async def _still_stands(self, runner: Runner, attempt: Attempt) -> bool:
        """Whether the runner is in the life in which the attempt was posted. It may have run it and forgotten it in a
        restart, before anybody heard that the link is closed: a round trip on the link tells."""
        return self._link_stood(attempt) and await runner.link.answers() and self._link_stood(attempt)

    def _link_stood(self, attempt: Attempt) -> bool:
        """Whether everything that the runner told of this attempt has come, or is on its way."""
        runner = self._pool.get(attempt.runner)
        return runner is not None and runner.link.is_open and runner.boot == attempt.boot

    def _refused(self, attempt: Attempt, refused: Refused) -> None:
        job = attempt.job
        self._registry.turn_attempt(attempt, AttemptState.REFUSED, refused.words)
        if not job.was_accepted:
            self._endings.forgotten(job, f"refused by {attempt.runner} before its client had an answer")
            return
        job.refused_by[attempt.runner] = refused.words
        log.warning("job.refused_after_acceptance", job=job.id, runner=attempt.runner, reason=refused.words)
        if self.has_another_runner(job):
            self._back_to_the_line(job, f"{attempt.runner} refused it")
        else:
            self._endings.failed(job, "PromptRefused", f"{attempt.runner} refused the prompt: {refused.words}")

    def _wait_again(self, attempt: Attempt, outcome: Undelivered) -> None:
        self._registry.turn_attempt(attempt, AttemptState.UNDELIVERED, outcome.reason)
        self._back_to_the_line(attempt.job, outcome.reason, is_at_once=not outcome.input_failed)

    def _back_to_the_line(self, job: Job, reason: str, *, is_at_once: bool = True) -> None:
        self._back_in_line(job, reason, is_at_once=is_at_once)
        self.schedule()

    def _back_in_line(self, job: Job, reason: str, *, is_at_once: bool = True) -> None:
        if job.is_in(JobState.SUBMITTING, JobState.DISPATCHED):
            self._registry.turn(job, JobState.PENDING, reason)
        if job.is_unwanted and job.state is JobState.PENDING:
            self._endings.dropped(job, "cancelled before it began")
        elif not is_at_once and job.state is JobState.PENDING and not self._aside.put(job):
            self._endings.failed(job, "InputUnavailable", f"Tried {job.input_failures} times: {reason}")
