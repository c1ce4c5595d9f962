"""Finding the jobs of an earlier life of the gateway again.

as it was stored                        what becomes of it
pending                                 waits again, in its place
with an open attempt                    belongs to its runner until that one is reconciled, or lost past the grace time
submitting, with an open attempt        the same, and counts as accepted: its client may have its 200. Where a runner
                                        refuses it now, it fails with that runner's words
submitting, without one                 is validated again as if it came now; refused, it leaves no trace: its
                                        client never had a 200

Secrets that came with a job are opened again; where the key is another one, the job goes on without them and says so.

A cancellation or a deletion that its client was promised is part of what is found; it is carried out with the first
reconciling, or at once where no runner has the job.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from gateway.jobs import rows
from gateway.jobs.job import Job
from gateway.jobs.registry import Registry
from gateway.jobs.secrets import Secrets, SecretsLost
from gateway.jobs.states import OPEN_ATTEMPTS, AttemptState, JobState
from gateway.storage import jobs as job_rows
from gateway.storage.database import Database

log = structlog.get_logger(__name__)


def as_found(job: JobState, attempt: AttemptState) -> tuple[JobState, AttemptState]:
    """Where an unfinished job and its newest attempt stand, by how they were stored. Pure.

    The answer to a POST that was under way will never come, and an end that was about to be written is not: whether the
    runner has the job, or its end, is to be found out.
    """
    if attempt in (AttemptState.POSTING, AttemptState.PROBING):
        attempt = AttemptState.IN_DOUBT
    if attempt is AttemptState.ENDED and job in (JobState.DISPATCHED, JobState.RUNNING):
        attempt = AttemptState.IN_DOUBT
    if attempt in OPEN_ATTEMPTS:
        return (JobState.DISPATCHED if job in (JobState.SUBMITTING, JobState.PENDING) else job), attempt
    return JobState.PENDING, attempt


@contextmanager
def _uncollected() -> Iterator[None]:
    """What is made here lasts: with ten thousand jobs, the collector would walk through them again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


async def recover(db: Database, registry: Registry, secrets: Secrets) -> None:
    """Fills the registry from the database. Nothing is dispatched by this. Raises StorageError."""
    with _uncollected():
        await _recover(db, registry, secrets)


async def _recover(db: Database, registry: Registry, secrets: Secrets) -> None:
    found = await job_rows.load_unfinished(db)
    highest_seq = await job_rows.highest_seq(db)
    registry.start_counting(highest_seq, rows.next_number(found, at_least=highest_seq))
    attempts = await job_rows.load_attempts_of_unfinished(db)
    for row in found:
        job = rows.job_of(row, attempts.get(row.id, []))
        if job.attempts:
            job.state, job.attempts[-1].state = as_found(job.state, job.attempts[-1].state)
        else:
            job.state, _ = as_found(job.state, AttemptState.UNDELIVERED)
        registry.add(job)
        _open_secrets(registry, job, secrets)
        if row.state == JobState.SUBMITTING and job.was_accepted:
            # Before its attempt comes to nothing, which would look as if it had never been accepted.
            stored = job_rows.update_job(job.id, state=job.state.value)
            db.write_behind(stored, *registry.scribe.beside(job, job.state))
    if found:
        log.info("jobs.found_again", jobs=len(found), on_runners=sum(job.attempt is not None for job in registry))


def _open_secrets(registry: Registry, job: Job, secrets: Secrets) -> None:
    """A job whose secrets cannot be read goes on without them. What is sealed stays until its end: the next start may
    have the right key."""
    if job.sealed is None:
        return
    try:
        job.secrets = secrets.opened(job.id, job.sealed)
    except SecretsLost as lost:
        log.error("job.secrets_lost", job=job.id, reason=str(lost), hint="is the key file the one that it was?")
        registry.noted(job, str(lost))
