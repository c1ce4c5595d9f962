"""From an accepted workflow to its job. The steps, and what a crash after each leaves for the next start:

    1  the files are stored, in the folder of the workflow's id     files without a workflow: they are removed
    2  the workflow is stored; then its creator is answered          a workflow without a job: it is submitted
    3  its graph is filled in, and submitted under its id            a job that is being validated: it is watched
    4  what came of it is noted: accepted, or refused and why        done

The graph is filled in from what is stored (values, seed, time of creation), so it is the same each time. A job's id is
its workflow's, and no id is taken twice: submitted once more, it is the job that is there already.

A workflow's creator is promised that it will be run or told why not. So a job that no runner has validated (a crash
came before the answer, or none could be asked) is not promised to anybody: where a runner refuses it later, it
vanishes; its workflow hears so, and is submitted again to learn why.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any
from weakref import WeakValueDictionary

import structlog

from gateway.clock import Clock
from gateway.comfyui import errors, json_text
from gateway.jobs.job import Attempt, Job
from gateway.jobs.jobs import Jobs
from gateway.jobs.states import AttemptState, JobState
from gateway.jobs.terms import Terms
from gateway.storage import jobs as job_rows
from gateway.storage import workflows as rows
from gateway.storage.database import Database, Operation
from gateway.storage.errors import StorageError
from gateway.storage.workflows import WorkflowRow
from gateway.workflows.placeholders import fill
from gateway.workflows.verdict import Accepted, Later, Refused, Verdict, verdict_of

AT_ONCE = 16  # submissions of one owner under way: what hangs is to hold up nobody else
PAUSE_SECONDS = 1.0  # before the first of the tries again; it doubles
PAUSE_MOST_SECONDS = 8.0

log = structlog.get_logger(__name__)


class Submitter:
    """Submits workflows: those of one owner in their order, several at a time.

    ``on_refused`` gives what is to be written with a refusal, which it is told by its type and its words.
    """

    def __init__(self, db: Database, jobs: Jobs, clock: Clock) -> None:
        self._db = db
        self._jobs = jobs
        self._clock = clock
        self._waiting: dict[str, str] = {}  # those without an answer, with their owners
        self._under_way: set[str] = set()
        self._unvalidated: set[str] = set()  # their jobs are there, and no runner has validated them
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()  # by owner
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[None]] = set()
        self.on_refused: Callable[[WorkflowRow, str, str], Sequence[Operation]] = lambda _row, _kind, _words: ()
        jobs.registry.watchers.append(self)

    async def start(self) -> None:
        """Takes up where an earlier life has left off. After the jobs room has started. Raises StorageError."""
        for workflow_id, owner, has_job in await rows.load_unanswered(self._db):
            if not has_job:
                self.put(workflow_id, owner)
            elif self._jobs.unpromised(workflow_id):
                self._unvalidated.add(workflow_id)
            else:
                self._note(workflow_id)

    async def close(self) -> None:
        """Submits no more; what is cut is taken up at the next start."""
        self._jobs.registry.watchers.remove(self)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def put(self, workflow_id: str, owner: str) -> None:
        """Has a stored workflow submitted."""
        if workflow_id not in self._waiting:
            self._waiting[workflow_id] = owner
            task = asyncio.create_task(self._until_answered(workflow_id, owner), name=f"workflow {workflow_id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def full(self, owner: str) -> str | None:
        """Why no more workflows of an owner are taken now; None: they are."""
        jobless = [of for workflow_id, of in self._waiting.items() if self._jobs.registry.get(workflow_id) is None]
        refusal = self._jobs.submissions.full(owner, None, more=jobless.count(owner), more_of_all=len(jobless))
        return None if refusal is None else f"{refusal['error']['message']}: {refusal['error']['details']}"

    def is_under_way(self, workflow_id: str) -> bool:
        """Whether it is being submitted now."""
        return workflow_id in self._under_way

    @asynccontextmanager
    async def held_off(self, workflow_id: str) -> AsyncIterator[None]:
        """While the block runs the workflow is not submitted; a submission under way has ended."""
        async with self._lock(workflow_id):
            yield

    # Watcher of the jobs room

    def job_turned(self, job: Job, was: JobState) -> None:
        """See Watcher."""
        self._look(job)

    def attempt_turned(self, attempt: Attempt, was: AttemptState, reason: str) -> None:
        """See Watcher."""
        self._look(attempt.job)

    def _look(self, job: Job) -> None:
        if job.id not in self._unvalidated:
            return
        if job.was_accepted:
            self._unvalidated.discard(job.id)
            self._note(job.id)
        elif job.is_in(JobState.CANCELLED, JobState.FAILED, JobState.REFUSED):
            self._unvalidated.discard(job.id)
            self.put(job.id, job.owner)  # refused, or ended: submitted once more it says which

    # one submission

    async def _until_answered(self, workflow_id: str, owner: str) -> None:
        turns = self._turns.setdefault(owner, asyncio.Semaphore(AT_ONCE))
        pause = PAUSE_SECONDS
        try:
            while (later := await self._try(workflow_id, turns)) is not None:
                reason, again = later.reason, pause
                log.info("workflow.not_yet_submitted", workflow=workflow_id, reason=reason, again_in_seconds=again)
                await asyncio.sleep(pause)
                pause = min(2 * pause, PAUSE_MOST_SECONDS)
        finally:
            del self._waiting[workflow_id]

    async def _try(self, workflow_id: str, turns: asyncio.Semaphore) -> Later | None:
        async with turns, self._lock(workflow_id):
            self._under_way.add(workflow_id)
            try:
                return await self._submit(workflow_id)
            except StorageError as error:
                return Later(str(error))
            except Exception:  # a fault of the gateway's own must not lose a workflow
                log.error("workflow.submission_failed", workflow=workflow_id, exc_info=True)
                return Later("its submission failed")
            finally:
                self._under_way.discard(workflow_id)

    async def _submit(self, workflow_id: str) -> Later | None:
        row = await rows.load_workflow(self._db, workflow_id)
        if row is None or row.answered_at is not None:
            return None
        verdict = await self._ask(row)
        if isinstance(verdict, Later):
            return verdict
        if isinstance(verdict, Accepted) and not verdict.validated and self._jobs.unpromised(workflow_id):
            self._unvalidated.add(workflow_id)
            return None
        refused = verdict if isinstance(verdict, Refused) else None
        beside = self.on_refused(row, refused.refusal.type, refused.refusal.words) if refused else ()
        await self._db.write(
            rows.answer_workflow(
                workflow_id,
                self._clock.wall_ms(),
                refused.status if refused else None,
                refused.refusal.to_json() if refused else None,
            ),
            *beside,
        )
        return None

    async def _ask(self, row: WorkflowRow) -> Verdict:
        terms = Terms.of_json(json_text.loads(row.terms))
        answer = await self._jobs.submissions.submit(request_of(row), row.owner, terms)
        verdict = verdict_of(answer)
        if isinstance(verdict, Refused) and verdict.refusal.type == errors.DUPLICATE_PROMPT_ID:
            job = await job_rows.load_job(self._db, row.id)
            if job is not None and job.owner == row.owner:
                return Accepted(validated=False)
        return verdict

    def _note(self, workflow_id: str) -> None:
        self._db.write_behind(rows.answer_workflow(workflow_id, self._clock.wall_ms()))

    def _lock(self, workflow_id: str) -> asyncio.Lock:
        return self._locks.setdefault(workflow_id, asyncio.Lock())


def request_of(row: WorkflowRow) -> dict[str, Any]:
    """The body of ``POST /prompt`` that runs a workflow; the same each time."""
    values = dict(json_text.loads(row.params))
    graph = fill(json_text.loads(row.graph), values, random=Random(row.seed), timestamp_ms=row.created_at)
    extra_data = {"gateway": {"tags": json_text.loads(row.tags)}}
    return {"prompt": graph, "prompt_id": row.id, "extra_data": extra_data}
