"""The jobs that are alive, found by their id and by the id that a runner knows them by, and the one place where their
states change: checked against the table, stored, logged."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from operator import attrgetter

import structlog

from gateway.clock import Clock
from gateway.jobs import rows
from gateway.jobs.changes import with_change
from gateway.jobs.job import Attempt, Job
from gateway.jobs.listeners import JobListener, Watcher
from gateway.jobs.open_attempts import OpenAttempts
from gateway.jobs.owners import Owners
from gateway.jobs.scribe import NoScribe, Scribe
from gateway.jobs.states import ENDS, AttemptState, JobState, check_attempt, check_job
from gateway.scheduling.lanes import Lane
from gateway.scheduling.waiting import Waiting, WaitingLine
from gateway.storage import jobs as job_rows
from gateway.storage.database import Database

log = structlog.get_logger(__name__)

CANONICAL_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
VISIBLE = frozenset({JobState.PENDING, JobState.DISPATCHED, JobState.RUNNING})
_IN_ORDER = attrgetter("number", "seq")  # of jobs


class Registry:
    """The live jobs. ``scribe`` may write more beside each change of state."""

    def __init__(self, db: Database, clock: Clock, listener: JobListener) -> None:
        self.listener = listener
        self.watchers: list[Watcher] = []
        self.scribe: Scribe = NoScribe()
        self.waiting = WaitingLine()
        self.redrawn: set[str] = set()  # jobs whose needs are others than they were; whoever looks at them takes them
        self._log = log.bind()  # once: every state of every job passes here
        self._db = db
        self._clock = clock
        self._jobs: dict[str, Job] = {}
        self._in_state: dict[JobState, dict[str, Job]] = {state: {} for state in JobState}
        self._open = OpenAttempts()
        self._visible = 0
        self._owners = Owners()
        self.running_most: Callable[[str], int | None] = lambda owner: None  # of an owner's jobs, at a time
        self.waiting.may_start = self.may_start
        self._of_client: Counter[Lane] = Counter()
        self._seq = 0
        self._number = 0

    # looking things up

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs.values())

    def get(self, job_id: str) -> Job | None:
        """The live job of that id."""
        return self._jobs.get(job_id)

    def attempt(self, runner: str, runner_prompt_id: str) -> Attempt | None:
        """The open attempt that a runner knows by that id."""
        return self._open.get(runner, runner_prompt_id)

    def attempts_on(self, runner: str) -> list[Attempt]:
        """The open attempts on a runner, oldest first."""
        return self._open.on(runner)

    def held(self, runner: str) -> int:
        """How many of a runner's slots are taken."""
        return self._open.slots(runner)

    def changes_on(self, runner: str) -> int:
        """Counts what changed among the open attempts on a runner."""
        return self._open.changes(runner)

    def certainly_before(self, attempt: Attempt) -> frozenset[str]:
        """The ids of what has to leave an attempt's runner before a prompt begins that is posted at its end now."""
        return self._open.certainly_before(attempt)

    def running_on(self, runner: str) -> Attempt | None:
        """The attempt that the runner executes now."""
        return self._open.running_on(runner)

    def may_start(self, owner: str) -> bool:
        """Whether one more of an owner's jobs may be given out now: none once runners have as many as it may have."""
        most = self.running_most(owner)
        return most is None or self.held_of_owner(owner) < most

    def must_wait(self, job: Job) -> bool:
        """Whether a job that is being submitted may not begin: its owner has as many at runners as it may have, or it
        runs alone, and others of its client come first."""
        return self._lane_is_busy(job) or not self.may_start(job.owner)

    def _lane_is_busy(self, job: Job) -> bool:
        return job.options.runs_alone and job.lane is not None and self.waiting.is_busy(job.lane)

    def runners_before(self, job: Job) -> set[str]:
        """The runners that have what a job that must wait waits for."""
        return self.runners_of_lane(job) if self._lane_is_busy(job) else self.runners_of_owner(job.owner)

    def runners_of_lane(self, job: Job) -> set[str]:
        """The runners that have a job of the same client."""
        holders = self.waiting.holders(job.lane) if job.lane is not None else ()
        return self._runners_of(holders)

    def _runners_of(self, job_ids: Iterable[str]) -> set[str]:
        found = (self._jobs[job_id].runner for job_id in job_ids if job_id in self._jobs)
        return {runner for runner in found if runner is not None}

    @property
    def remaining(self) -> int:
        """Pending and running jobs of the whole pool: ComfyUI's ``queue_remaining``."""
        return self._visible

    @property
    def taken(self) -> int:
        """How many jobs have not ended, with those that are being submitted now."""
        return len(self._jobs)

    def taken_of(self, owner: str, client_id: str | None) -> int:
        """The same of one client; the jobs without a ``client_id`` are those of one."""
        return self._of_client[owner, client_id or ""]

    def remaining_of(self, owner: str) -> int:
        """Pending and running jobs of an owner."""
        return self._owners.visible_of(owner)

    def taken_of_owner(self, owner: str) -> int:
        """How many jobs of an owner have not ended, with those that are being submitted now."""
        return len(self._owners.jobs_of(owner))

    def held_of_owner(self, owner: str) -> int:
        """How many slots of runners an owner's jobs take."""
        return len(self._owners.held_of(owner))

    def runners_of_owner(self, owner: str) -> set[str]:
        """The runners that have a job of an owner."""
        return self._runners_of(self._owners.held_of(owner))

    def shown(self, *states: JobState, owner: str | None = None) -> list[Job]:
        """Jobs in these states, of an owner or of everyone (the gateway too): in the order of their numbers."""
        if owner is not None:
            return self._shown_of(owner, states)
        found = [job for state in states for job in self._in_state[state].values()]
        found.sort(key=_IN_ORDER)  # nearly in order already
        return found

    def _shown_of(self, owner: str, states: tuple[JobState, ...]) -> list[Job]:
        """What runners have is few, whoever's it is; what waits may be much, most of it others'."""
        if JobState.PENDING in states:
            found = [job for job in self._owners.jobs_of(owner) if job.state in states]
        else:
            found = [job for state in states for job in self._in_state[state].values() if job.owner == owner]
        found.sort(key=_IN_ORDER)
        return found

    def due(self) -> Iterator[tuple[str, str]]:
        """The jobs that have not begun, by id and owner, in the order in which they are due: those that runners hold,
        then those in the line, then those that stand aside."""
        held = sorted(self._in_state[JobState.DISPATCHED].values(), key=_IN_ORDER)
        yield from ((job.id, job.owner) for job in held)
        yield from ((waiting.job_id, waiting.owner) for waiting in self.waiting)
        pending = self._in_state[JobState.PENDING]
        if len(self.waiting) < len(pending):
            yield from ((job.id, job.owner) for job in pending.values() if job.id not in self.waiting)

    # taking jobs in

    def start_counting(self, highest_seq: int, next_number: int) -> None:
        """Goes on counting where an earlier life of the gateway stopped."""
        self._seq, self._number = highest_seq, next_number

    def next_number(self) -> int:
        """The pool's counter, ComfyUI's ``number``: from 0, advancing with every submission, refused ones included."""
        number, self._number = self._number, self._number + 1
        return number

    def next_job_seq(self) -> int:
        """The next place in the order of acceptance."""
        self._seq += 1
        return self._seq

    def add(self, job: Job) -> None:
        """Takes in a job: a new one, or one found again after a restart."""
        self._jobs[job.id] = job
        self._of_client[_client_of(job)] += 1
        self._in_state[job.state][job.id] = job
        self._visible += job.state in VISIBLE
        self._owners.joined(job, is_visible=job.state in VISIBLE)
        if job.state is JobState.PENDING:
            job.waits_since = self._clock.monotonic()
            self._wait(job)
        if job.attempt is not None:
            self._open.add(job.attempt)
            self._open.take(job.attempt.runner, job.attempt.takes_a_slot)
            self._hold(job)

    def new_attempt(self, job: Job, runner: str, *, probe: bool) -> Attempt:
        """Registers that a runner is about to be given the job, before it is: no event can come too early.

        The runner is given the job's own id where it is one that every ComfyUI takes, and no earlier attempt that may
        still be alive somewhere has used it.
        """
        used = any(attempt.state in (AttemptState.LOST, AttemptState.MOVED) for attempt in job.attempts)
        attempt = Attempt(
            job,
            ordinal=len(job.attempts) + 1,
            runner=runner,
            runner_prompt_id=str(uuid.uuid4()) if used or not _is_canonical_uuid(job.id) else job.id,
            state=AttemptState.PROBING if probe else AttemptState.POSTING,
            created_at=self._clock.wall_ms(),
            has_its_turn=not probe,
        )
        job.attempts.append(attempt)
        self._open.add(attempt)
        self._open.take(runner, attempt.takes_a_slot)
        self._hold(job)
        attempt.charged = 0.0 if probe else job.work
        self.waiting.shares.begin(*_client_of(job), attempt.charged, job.options.weight)
        return attempt

    def answer_to_another_id(self, attempt: Attempt, runner_prompt_id: str) -> None:
        """The runner has given the job an id of its own choice: from now on that one is its name there."""
        self._open.remove(attempt)
        attempt.runner_prompt_id = runner_prompt_id
        self._open.add(attempt)
        self._db.write_behind(
            job_rows.update_attempt(attempt.job.id, attempt.ordinal, runner_prompt_id=runner_prompt_id)
        )

    # durable writes around a POST

    async def store_submission(self, job: Job, attempt: Attempt | None) -> None:
        """Writes down a new job, with the intent to give it to a runner, before that runner hears of it.

        Raises StorageError: nothing was written.
        """
        operations = [job_rows.insert_job(rows.row_of(job))]
        if attempt is not None:
            operations.append(job_rows.insert_attempt(rows.attempt_row(attempt)))
        await self._db.write(*operations)
        job.has_row = True

    async def store_acceptance(self, job: Job) -> None:
        """Writes down that a job waits, before it does and before its client is answered.

        Raises StorageError: nothing was written.
        """
        if job.has_row:
            outputs = rows.json_bytes(job.outputs_to_execute)
            stored = job_rows.update_job(job.id, state=JobState.PENDING.value, outputs_to_execute=outputs)
        else:
            stored = job_rows.insert_job(replace(rows.row_of(job), state=JobState.PENDING.value))
        await self._db.write(stored, *self.scribe.beside(job, JobState.PENDING, certain=False))
        job.has_row = True

    async def store_attempt(self, attempt: Attempt) -> None:
        """Writes down the intent to give a job to a runner. Raises StorageError: nothing was written."""
        await self._db.write(
            job_rows.insert_attempt(rows.attempt_row(attempt)),
            job_rows.update_job(attempt.job.id, runner=attempt.runner),
        )

    async def store_wishes(self, jobs: Iterable[Job]) -> None:
        """Writes down what clients have asked for, before they are answered; with it, all that was enqueued before.

        Raises StorageError.
        """
        await self._db.write(*(job_rows.update_job(job.id, wish=job.wish) for job in jobs))

    # changes of state

    def turn(self, job: Job, state: JobState, reason: str = "") -> None:
        """Changes a job's state and has it stored. Ends are stored by ``finish`` in the history, with what they carry.

        Raises IllegalTransition.
        """
        check_job(job.state, state)
        was = job.state
        visible = (state in VISIBLE) - (was in VISIBLE)
        self._visible += visible
        self._owners.turned(job, visible=visible)
        job.state, job.reason = state, reason
        job.changes = with_change(job.changes, state.value, self._clock.wall_ms(), reason, job.runner)
        del self._in_state[was][job.id]
        if was is JobState.PENDING:
            if state is JobState.DISPATCHED:
                self.waiting.give_out(job.id, self._clock.monotonic())
            else:
                self.waiting.remove(job.id)
            if state not in ENDS:
                job.content.unpack()
        if state is JobState.PENDING:
            job.waits_since = self._clock.monotonic()
            self._wait(job)
        self._log.info(
            "job.state", job=job.id, state=state.value, was=was.value, runner=job.runner, reason=reason or None
        )
        if state in ENDS or state is JobState.REFUSED:
            job.secrets = {}
            del self._jobs[job.id]
            self._leave_client(job)
            self._owners.left(job)
        else:
            self._in_state[state][job.id] = job
        if state is JobState.REFUSED:
            self._db.write_behind(job_rows.delete_refused(job.id, job.seq))
        elif state not in ENDS:
            columns: dict[str, object] = {
                "state": state.value,
                "reason": reason or None,
                "changes": job.changes,
            }
            if was is JobState.SUBMITTING:
                columns["outputs_to_execute"] = rows.json_bytes(job.outputs_to_execute)
            if state is JobState.RUNNING and job.attempt is not None:
                columns["started_at"] = job.attempt.started_at
            self._db.write_behind(job_rows.update_job(job.id, **columns), *self.scribe.beside(job, state))
        if visible and state not in ENDS:  # an end is told in its own order
            self.listener.queue_changed(job.owner)
        for watcher in self.watchers:
            watcher.job_turned(job, was)

    def noted(self, job: Job, reason: str) -> None:
        """Has something told in a job's story that changes no state."""
        job.reason = reason
        job.changes = with_change(job.changes, job.state.value, self._clock.wall_ms(), reason, job.runner)
        self._db.write_behind(job_rows.update_job(job.id, reason=reason, changes=job.changes))

    def turn_attempt(self, attempt: Attempt, state: AttemptState, reason: str = "") -> None:
        """Changes an attempt's state and has it stored. Raises IllegalTransition."""
        was = attempt.state
        check_attempt(was, state)
        took_a_slot = attempt.takes_a_slot
        attempt.state = state
        self._open.take(attempt.runner, attempt.takes_a_slot - took_a_slot)
        now = self._clock.wall_ms()
        attempt.changes = with_change(attempt.changes, state.value, now, reason)
        columns: dict[str, object] = {"state": state.value, "reason": reason or None, "changes": attempt.changes}
        if state is AttemptState.RUNNING:
            attempt.started_at = columns["started_at"] = now
        if not attempt.is_open:
            columns["ended_at"] = now
            self._open.remove(attempt)
            self._settle(attempt, now)
        self._hold(attempt.job)
        self._log.debug(
            "attempt.state",
            job=attempt.job.id,
            attempt=attempt.ordinal,
            runner=attempt.runner,
            state=state.value,
            reason=reason or None,
        )
        self._db.write_behind(job_rows.update_attempt(attempt.job.id, attempt.ordinal, **columns))
        for watcher in self.watchers:
            watcher.attempt_turned(attempt, was, reason)

    def has_run(self, attempt: Attempt) -> bool:
        """The runner has told the attempt's end, which is yet to be written down. Returns whether a slot is free by it;
        its owner and its client have it as theirs until the end."""
        took_a_slot = attempt.takes_a_slot
        attempt.has_run = True
        self._open.take(attempt.runner, -took_a_slot)
        return took_a_slot

    def started(self, attempt: Attempt) -> None:
        """The runner has begun the job. Told twice, the second time changes nothing."""
        if attempt.state is AttemptState.RUNNING:
            return
        self.turn_attempt(attempt, AttemptState.RUNNING)
        if attempt.job.delete_requested:
            attempt.job.delete_requested = False  # a deletion does not touch what has begun
            self._db.write_behind(job_rows.update_job(attempt.job.id, wish=attempt.job.wish))
        if attempt.job.state is not JobState.RUNNING:
            self.turn(attempt.job, JobState.RUNNING)

    def needs_changed(self, jobs: Iterable[Job]) -> None:
        """Lets waiting jobs whose needs were drawn anew, or that a runner has refused, stand among their new kind."""
        for job in jobs:
            self.redrawn.add(job.id)
            if self.waiting.remove(job.id):
                self._wait(job)

    def step_aside(self, job: Job) -> None:
        """Takes a PENDING job out of the line, for a while."""
        self.waiting.remove(job.id)

    def step_back(self, job: Job) -> None:
        """Lets a PENDING job stand in the line again."""
        if job.id not in self.waiting:
            self._wait(job)

    def _leave_client(self, job: Job) -> None:
        client = _client_of(job)
        self._of_client[client] -= 1
        if not self._of_client[client]:
            del self._of_client[client]

    def _wait(self, job: Job) -> None:
        job.content.pack()
        self.waiting.add(self.as_waiting(job))

    def as_waiting(self, job: Job, but: frozenset[str] = frozenset()) -> Waiting:
        """How a job stands in the line; ``but`` are more runners that it is not to be given to."""
        owner, client = _client_of(job)
        return Waiting(
            job.id,
            job.number,
            job.seq,
            job.needs,
            frozenset(job.refused_by) | but,
            job.lane if job.options.runs_alone else None,
            owner,
            client,
            priority=job.options.priority,
            weight=job.options.weight,
            work=job.work,
            since=job.waits_since or self._clock.monotonic(),
        )

    def _settle(self, attempt: Attempt, now: int) -> None:
        """What the attempt took in truth is what its owner has had."""
        took = 0.0 if attempt.started_at is None else (now - attempt.started_at) / 1000
        options = attempt.job.options
        self.waiting.shares.settle(*_client_of(attempt.job), took - attempt.charged, options.weight)

    def _hold(self, job: Job) -> None:
        is_given = job.attempt is not None and job.attempt.is_given
        self._owners.holds(job, takes_a_slot=is_given)
        if job.lane is None:
            return
        if is_given:
            self.waiting.take(job.lane, job.id)
        else:
            self.waiting.leave(job.lane, job.id)


def _client_of(job: Job) -> Lane:
    return (job.owner, job.client_id or "")


def _is_canonical_uuid(text: str) -> bool:
    return CANONICAL_UUID.fullmatch(text) is not None
