"""The statuses of a workflow, and what each follows from. Nothing stores them: where a workflow stands is its job's
state, and before it has one, or where it never got one, what came of its submission.

    stands at                     status       meaning
    no job yet                    accepted     stored; it will be submitted
    its submission under way      uploaded     its files are stored; a runner is being given them, and validates it
    job submitting                uploaded
    job pending, dispatched       queued       waits, in the gateway or on a runner
    job running                   running
    job completed                 completed
    job failed                    failed
    job cancelled                 cancelled
    submission refused            invalid      a runner, or the gateway, found a fault in it
    submission failed             failed       a runner broke down over it, and no other one could be asked
    its job is gone               failed       the database has its job no more

Names: ComfyControl, Workflows.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Final

from gateway.jobs.states import JobState
from gateway.storage.workflows import GONE, UNSUBMITTED


class Status(StrEnum):
    """See the table at the top of this module."""

    ACCEPTED = "accepted"
    UPLOADED = "uploaded"
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    INVALID = "invalid"
    FAILED = "failed"


STATUS_OF: Final[dict[str, Status]] = {
    UNSUBMITTED: Status.ACCEPTED,
    JobState.SUBMITTING: Status.UPLOADED,
    JobState.PENDING: Status.QUEUED,
    JobState.DISPATCHED: Status.QUEUED,
    JobState.RUNNING: Status.RUNNING,
    JobState.COMPLETED: Status.COMPLETED,
    JobState.FAILED: Status.FAILED,
    JobState.CANCELLED: Status.CANCELLED,
    JobState.REFUSED: Status.UPLOADED,  # its row is about to go, and the refusal to be noted
    Status.INVALID: Status.INVALID,
    GONE: Status.FAILED,
}

ENDED: Final = frozenset({Status.COMPLETED, Status.CANCELLED, Status.INVALID, Status.FAILED})
CANCELLABLE: Final = frozenset({Status.QUEUED, Status.RUNNING})


def standings_of(statuses: Collection[Status]) -> list[str]:
    """Where workflows of these statuses can stand."""
    return [str(standing) for standing, status in STATUS_OF.items() if status in statuses]
