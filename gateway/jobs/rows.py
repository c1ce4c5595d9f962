"""Jobs and attempts as rows, there and back."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from gateway.comfyui import json_text
from gateway.jobs.changes import NONE as NO_CHANGES
from gateway.jobs.content import Content
from gateway.jobs.hooks import hooks_of
from gateway.jobs.job import Attempt, Job, Options, Wish
from gateway.jobs.states import OPEN_ATTEMPTS, AttemptState, JobState
from gateway.scheduling.needs import Needs
from gateway.storage.jobs import AttemptRow, JobRow

TAKEN = frozenset({AttemptState.HELD, AttemptState.RUNNING, AttemptState.ENDED, AttemptState.WITHDRAWN})


def row_of(job: Job) -> JobRow:
    """The row of a job that has just been submitted, its secrets sealed."""
    request = {
        "explicit_number": job.number if isinstance(job.number, float) else None,
        "partial_execution_targets": job.options.partial_execution_targets,
        "tags": list(job.options.tags),
        "runs_alone": job.options.runs_alone,
        "retries": job.options.retries,
        "priority": job.options.priority,
        "weight": job.options.weight,
    }
    if job.options.hooks:
        request["hooks"] = [hook.as_json() for hook in job.options.hooks]
    return JobRow(
        id=job.id,
        seq=job.seq,
        number=float(job.number),
        owner=job.owner,
        client_id=job.client_id,
        state=job.state.value,
        prompt=job.content.prompt_json,
        extra_data=job.content.extra_data_json,
        request=json_bytes(request),
        outputs_to_execute=json_bytes(job.outputs_to_execute),
        created_at=job.created_at,
        workflow_id=job.workflow_id,
        told=job.client_id is None,
        secrets=job.sealed,
    )


def job_of(row: JobRow, attempts: list[AttemptRow]) -> Job:
    """An unfinished job as it stood when its rows were written. Its live messages are gone, its secrets are
    sealed, and of its needs only the tags are known: the rest is drawn from the graph by the pool's catalogue."""
    request = _request(row.request)
    state = JobState(row.state)
    job = Job(
        id=row.id,
        seq=row.seq,
        number=int(row.number) if request.number is None else request.number,
        owner=row.owner,
        client_id=row.client_id,
        content=Content.packed(row.prompt, row.extra_data),
        secrets={},
        options=request.options,
        needs=request.needs,
        created_at=row.created_at,
        state=state,
        outputs_to_execute=json_text.loads(row.outputs_to_execute),
        has_row=True,
        was_accepted=may_be_accepted(state, {AttemptState(attempt.state) for attempt in attempts}),
        cancel_requested=row.wish == Wish.CANCEL,
        delete_requested=row.wish == Wish.DELETE,
        reason=row.reason or "",
        changes=row.changes or NO_CHANGES,
        workflow_id=row.workflow_id,
        sealed=row.secrets,
    )
    job.attempts = [
        Attempt(
            job,
            attempt.ordinal,
            attempt.runner,
            attempt.runner_prompt_id,
            AttemptState(attempt.state),
            attempt.created_at,
            attempt.started_at,
            changes=attempt.changes or NO_CHANGES,
        )
        for attempt in attempts
    ]
    return job


def may_be_accepted(job: JobState, attempts: Collection[AttemptState]) -> bool:
    """Whether the client of a job that was stored like this may have its 200. Pure.

    A 200 goes out after the intent to post is stored and before what came of it is. So with an attempt that is open, or
    that a runner took, it may have gone out. It has not where every attempt had come to nothing: the next thing stored
    is another intent, or that the job waits.
    """
    return job is not JobState.SUBMITTING or any(state in TAKEN or state in OPEN_ATTEMPTS for state in attempts)


def next_number(unfinished: Iterable[JobRow], *, at_least: int) -> int:
    """Where the pool's counter goes on, so that new jobs come behind those that wait: the counter also advances with
    prompts that leave no row, so it may be ahead of the order of acceptance."""
    counted = (row.number for row in unfinished if _request(row.request).number is None)
    return max(at_least, *(int(abs(number)) + 1 for number in counted), 0)


@dataclass(frozen=True, slots=True)
class _Request:
    """What a submission said; ``number`` is None where the place in the queue was left to the pool."""

    number: float | None
    options: Options
    needs: Needs


@lru_cache(maxsize=1024)
def _request(text: bytes) -> _Request:
    """Of thousands that wait, most said the same."""
    said = json_text.loads(text)
    tags = tuple(said["tags"])
    options = Options(
        said["partial_execution_targets"],
        tags,
        said.get("runs_alone", False),
        said.get("retries"),
        said.get("priority", 0),
        said.get("weight", 1.0),
        hooks_of(said.get("hooks", ())),
    )
    return _Request(said["explicit_number"], options, Needs(frozenset(tags), frozenset(), frozenset()))


def attempt_row(attempt: Attempt) -> AttemptRow:
    """The row of a new attempt."""
    return AttemptRow(
        job_id=attempt.job.id,
        ordinal=attempt.ordinal,
        runner=attempt.runner,
        runner_prompt_id=attempt.runner_prompt_id,
        state=attempt.state.value,
        created_at=attempt.created_at,
    )


def json_bytes(value: Any) -> bytes:
    """JSON as the rows hold it."""
    return json_text.dump_bytes(value)
