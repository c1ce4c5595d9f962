"""The jobs room as others see it: one object that hears the runners and answers the APIs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Set
from contextlib import suppress
from typing import Any

import structlog

from gateway.clock import Clock
from gateway.comfyui import jobs_api, json_text
from gateway.comfyui.jobs_api import JobsQuery
from gateway.comfyui.messages import Message, prompt_id_of
from gateway.config import Config, RunnerConfig
from gateway.files.archive import Archive
from gateway.files.outputs import OutputNames
from gateway.files.staging import Staging
from gateway.jobs.control import Control
from gateway.jobs.dispatch import Dispatcher
from gateway.jobs.endings import Endings
from gateway.jobs.fleet import Fleet
from gateway.jobs.follow import Follower
from gateway.jobs.forecast import Expected
from gateway.jobs.hearing import Hearing
from gateway.jobs.history import History
from gateway.jobs.job import Attempt, Job
from gateway.jobs.learning import Learner
from gateway.jobs.listeners import JobListener
from gateway.jobs.listing import QueueListing
from gateway.jobs.owners import HOUSE
from gateway.jobs.receivers import Receivers
from gateway.jobs.reconcile import Reconciler
from gateway.jobs.recovery import recover
from gateway.jobs.registry import VISIBLE, Registry
from gateway.jobs.retold import retell
from gateway.jobs.rows import TAKEN
from gateway.jobs.scheduler import policy_of
from gateway.jobs.secrets import Secrets
from gateway.jobs.states import JobState
from gateway.jobs.submission import Submissions
from gateway.jobs.warming import Warming
from gateway.jobs.watchdog import Watchdog
from gateway.runners.addresses import EndpointRules
from gateway.runners.pool import Pool
from gateway.runners.runner import Runner
from gateway.scheduling.tagging import Tagging
from gateway.storage import jobs as job_rows
from gateway.storage.database import Database
from gateway.storage.errors import StorageError

log = structlog.get_logger(__name__)


class Jobs:
    """Composes the room. It is the pool's RunnerObserver."""

    def __init__(
        self,
        config: Config,
        db: Database,
        pool: Pool,
        names: OutputNames,
        archive: Archive,
        staging: Staging,
        listener: JobListener,
        clock: Clock,
        secrets: Secrets,
    ) -> None:
        self.registry = Registry(db, clock, listener)
        self.history = History(db)
        self._db = db
        self._pool = pool
        self._archive = archive
        self._clock = clock
        self._secrets = secrets
        self._endings = Endings(
            self.registry,
            self.history,
            names,
            db,
            clock,
            retries=config.failover.retries,
            poison_after_runners=config.failover.poison_after_runners,
            retry_out_of_memory=config.failover.retry_out_of_memory,
        )
        self.dispatcher = Dispatcher(
            self.registry,
            pool,
            staging,
            self._endings,
            clock,
            post_timeout_seconds=config.dispatch.post_timeout_seconds,
            policy=policy_of(config.scheduling),
        )
        self._endings.could_go_elsewhere = self.dispatcher.has_another_runner
        self._endings.on_slot_free = self.dispatcher.schedule
        self._endings.on_files = archive.want
        self._follower = Follower(self.registry, self._endings)
        self._hearing = Hearing(self._follower)
        self.learner = Learner(self.registry, pool, self.dispatcher.scheduler, db, clock)
        self.on_message: Callable[[Attempt, Message], None] = lambda _attempt, _message: None
        self._follower.on_message = self._heard
        self.dispatcher.on_another_id = self._follower.answered_to_another_id
        self._watchdog = Watchdog(clock, stuck_seconds=config.health.stuck_seconds)
        self._reconciler = Reconciler(self.registry, self.dispatcher, self._watchdog)
        self.receivers = Receivers(EndpointRules(config.endpoints.webhook))
        self.submissions = Submissions(
            self.registry,
            self.history,
            pool,
            self.dispatcher,
            db,
            clock,
            bounds=config.queue,
            secrets=secrets,
            receivers=self.receivers,
            tagging=Tagging(config.tags.rules),
        )
        self.control = Control(self.registry, self.dispatcher, self._endings)
        self._warming = Warming(
            config.scheduling.keep_warm, self.registry, self.dispatcher, self.submissions.submit, clock
        )
        self.learner.on_forgotten = self._warming.look_soon

    async def start(self) -> None:
        """Finds the jobs of an earlier life again; the dispatcher opens. Raises StorageError."""
        await self.history.load()
        await self.learner.load()
        await recover(self._db, self.registry, self._secrets)
        await retell(self._db, self.registry.listener, now=self._clock.wall_ms())
        for job in list(self.registry):
            if job.attempt is not None and self._pool.get(job.attempt.runner) is None:
                self._endings.moved(job.attempt, "its runner is no longer configured")
            elif job.is_unwanted and job.is_in(JobState.PENDING):
                self._endings.dropped(job, "cancelled before it began")
        self.dispatcher.open()
        self._warming.start()

    def fleet(self, make_runner: Callable[[RunnerConfig], Runner], drain_seconds: float) -> Fleet:
        """The operator's moves over this room's jobs and runners."""
        return Fleet(
            self._pool,
            self.registry,
            self.dispatcher,
            self._endings,
            self._clock,
            make_runner=make_runner,
            rescue=self._archive.rescue,
            drain_seconds=drain_seconds,
        )

    async def drain(self, seconds: float) -> None:
        """Takes no prompts and gives out no jobs from now on; waits for what is under way, at most so long.

        Jobs on runners go on there; the next life of the gateway finds them again.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(self.submissions.drain(), self.dispatcher.drain())

    async def stop(self) -> None:
        """Gives out no more jobs, and waits for the dispatches and the ends under way."""
        await self._warming.close()
        await self.dispatcher.close()
        await self._hearing.close()
        await self._endings.settled()
        self.learner.close()

    # what clients see

    def queue(self, owner: str | None) -> QueueListing:
        """``GET /queue``: what runs, and what waits in its order, the gateway's and the runners' together."""
        pending = self.live(owner, JobState.DISPATCHED, JobState.PENDING)
        return QueueListing(self.live(owner, JobState.RUNNING), pending)

    def live(self, owner: str | None, *states: JobState) -> list[Job]:
        """An owner's jobs in these states, or every client's."""
        found = self.registry.shown(*states, owner=owner)
        return [job for job in found if job.owner != HOUSE] if owner is None and self._warming.is_at_work else found

    def job(self, job_id: str, owner: str | None) -> Job | None:
        """A job that has not ended and that clients may see."""
        job = self.registry.get(job_id)
        if job is None or job.state not in VISIBLE or job.owner == HOUSE or owner not in (None, job.owner):
            return None
        return job

    def listed(self, owner: str | None, query: JobsQuery) -> dict[str, Any]:
        """``GET /api/jobs``. A place in the queue is told of those rows only that are shown."""
        answer = jobs_api.select(self.rows(owner, query.statuses), query)
        if any(row["status"] == jobs_api.PENDING for row in answer["jobs"]):
            shown = [job for row in answer["jobs"] if (job := self.registry.get(row["id"])) is not None]
            places = self._places(job.id for job in shown)
            expected = self.dispatcher.expected(shown)
            answer["jobs"] = [_placed(row, places.get(row["id"]), expected.get(row["id"])) for row in answer["jobs"]]
        return answer

    def rows(self, owner: str | None, statuses: Set[str] | None = None) -> list[dict[str, Any]]:
        """The rows of ``GET /api/jobs``: running, waiting, then ended in order; without places in the queue. Those that
        have none of these statuses may be left out."""
        found: list[dict[str, Any]] = []
        if statuses is None or jobs_api.IN_PROGRESS in statuses:
            found += [_row(job) for job in self.live(owner, JobState.RUNNING)]
        if statuses is None or jobs_api.PENDING in statuses:
            found += [job.row for job in self.live(owner, JobState.DISPATCHED, JobState.PENDING)]
        if statuses is None or statuses - {jobs_api.IN_PROGRESS, jobs_api.PENDING}:
            found += self.history.rows(owner)
        return found

    def running_of(self, client_id: str, owner: str) -> list[Job]:
        """The running jobs of a client."""
        return [job for job in self.live(owner, JobState.RUNNING) if job.client_id == client_id]

    def remaining_of(self, owner: str) -> int:
        """Pending and running jobs of an owner: the ``queue_remaining`` that it is told."""
        return self.registry.remaining_of(owner)

    async def detail(self, job_id: str, owner: str | None) -> dict[str, Any] | None:
        """``GET /api/jobs/{id}``."""
        entry = await self.history.entry(job_id, owner)
        if entry is not None:
            return jobs_api.detail(json_text.loads(entry), job_id)
        job = self.job(job_id, owner)
        if job is None:
            return None
        return _placed(_row(job), self.place(job_id), self.dispatcher.expected([job]).get(job_id))

    def unpromised(self, job_id: str) -> bool:
        """Nobody outside has been promised this job: refused by every runner, it leaves no trace, instead of failing.

        Returns False, and changes nothing, for one that a runner has had, and so validated, or that is not there.
        """
        job = self.registry.get(job_id)
        if job is None or job.is_in(JobState.RUNNING) or any(attempt.state in TAKEN for attempt in job.attempts):
            return False
        job.was_accepted = False
        return True

    def kept_warm(self) -> list[dict[str, Any]]:
        """The models that are loaded again by themselves, with how each stands."""
        return self._warming.told()

    def place(self, job_id: str) -> int | None:
        """A job's place in the pool's queue, from 1; None unless it waits."""
        return self._places([job_id]).get(job_id)

    def _places(self, job_ids: Iterable[str]) -> dict[str, int]:
        """The places in the pool's queue, from 1, of those jobs that have not begun: whoever waits is told how many are
        before it, and not whose they are."""
        wanted, found, place = set(job_ids), {}, 0
        for job_id, owner in self.registry.due():
            if owner != HOUSE:
                place += 1
                if job_id in wanted:
                    found[job_id] = place
        return found

    def told(self, job_id: str) -> None:
        """The end of a job is with its client's socket: it is not told again after a restart."""
        self._db.write_behind(job_rows.update_job(job_id, told=True))

    def _heard(self, attempt: Attempt, message: Message) -> None:
        self.learner.told(attempt, message)
        self.on_message(attempt, message)

    # RunnerObserver

    async def runner_connected(self, runner: Runner) -> None:
        """See RunnerObserver."""
        await self._hearing.settled(runner)
        await self._stored(runner, self._reconciler.reconcile)
        await self.learner.connected(runner)
        self._warming.runner_connected()
        await self.registry.listener.runner_connected(runner)

    async def runner_checked(self, runner: Runner) -> None:
        """See RunnerObserver."""
        await self._stored(runner, self._reconciler.check)

    async def runner_lost(self, runner: Runner, reason: str) -> None:
        """See RunnerObserver."""
        self.learner.forget(runner.name, reason)
        for attempt in self.registry.attempts_on(runner.name):
            self._endings.lost(attempt, reason)
        self.dispatcher.schedule()

    def runner_message(self, runner: Runner, message: Message) -> Awaitable[None] | None:
        """See RunnerObserver."""
        if prompt_id_of(message) is not None:  # what custom nodes send by themselves is no sign of the worker
            self._watchdog.told(runner.name)
        return self._hearing.message(runner, message)

    async def runner_binary(self, runner: Runner, frame: bytes) -> None:
        """See RunnerObserver."""
        self._watchdog.told(runner.name)
        await self._hearing.binary(runner, frame)

    def pool_changed(self) -> None:
        """See RunnerObserver."""
        self.submissions.runners_changed()
        self.dispatcher.schedule()
        self._archive.runner_ready()
        self._warming.look_soon()

    async def _stored(self, runner: Runner, reconcile: Any) -> None:
        try:
            await reconcile(runner)
        except StorageError as error:
            log.error("runner.not_reconciled", runner=runner.name, reason=str(error))


def _row(job: Job) -> dict[str, Any]:
    return {**job.row, "status": jobs_api.IN_PROGRESS} if job.state is JobState.RUNNING else job.row


def _placed(row: dict[str, Any], place: int | None, expected: Expected | None) -> dict[str, Any]:
    """The row of a job that waits with its place in the queue, from 1, and when it is expected to begin and to end, in
    milliseconds since the epoch; any other as it is."""
    if row["status"] != jobs_api.PENDING:
        return row
    times = {} if expected is None else {"expected_start": expected.start, "expected_end": expected.end}
    return {**row, "queue_position": place, **times}
