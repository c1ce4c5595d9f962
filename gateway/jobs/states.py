"""The states of a job and of an attempt, and every transition between them: whoever changes a state asks here.

A *job* is one prompt from its submission to its end. An *attempt* is one time that a runner was given it.

    job           meaning
    SUBMITTING    a runner is asked whether the prompt is valid; the client has no answer yet; shown nowhere
    PENDING       accepted, waits in the gateway
    DISPATCHED    given to a runner, which has not begun it
    RUNNING       the runner has begun it
    COMPLETED, FAILED, CANCELLED   ended, for ever
    REFUSED       never accepted: the client got the runner's 400 and no trace is kept

    attempt       meaning
    POSTING       the intent is durable; the POST has no answer yet
    PROBING       as POSTING, but only to validate: until it is taken back, once the runner has accepted it
    HELD          the runner has it in its queue
    RUNNING       the runner has begun it
    IN_DOUBT      sent, and no answer: the runner has it or not, reconciling tells
    ENDED         the runner ended it: success, error or interruption
    REFUSED       the runner's validation said no
    WITHDRAWN     taken back before it began
    UNDELIVERED   it never reached the runner
    LOST          the runner is gone, or has no trace of it
    MOVED         the operator has taken it from the runner, begun or not; this does not count against the job
"""

from __future__ import annotations

from enum import StrEnum


class IllegalTransition(Exception):
    """A state was to change in a way that the table does not have: a fault of the gateway's own code."""


class JobState(StrEnum):
    """See the table at the top of this module."""

    SUBMITTING = "submitting"
    PENDING = "pending"
    DISPATCHED = "dispatched"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REFUSED = "refused"


class AttemptState(StrEnum):
    """See the table at the top of this module."""

    POSTING = "posting"
    PROBING = "probing"
    HELD = "held"
    RUNNING = "running"
    IN_DOUBT = "in_doubt"
    ENDED = "ended"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    UNDELIVERED = "undelivered"
    LOST = "lost"
    MOVED = "moved"


J, A = JobState, AttemptState
ENDS = frozenset({J.COMPLETED, J.FAILED, J.CANCELLED})

JOB_TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    # RUNNING straight from SUBMITTING: events overtake the answer to the POST.
    J.SUBMITTING: frozenset({J.PENDING, J.DISPATCHED, J.RUNNING, J.REFUSED}),
    J.PENDING: frozenset({J.DISPATCHED, J.CANCELLED, J.FAILED}),
    # Ends straight from DISPATCHED: found in the runner's history after its events were missed.
    J.DISPATCHED: frozenset({J.RUNNING, J.PENDING}) | ENDS,
    J.RUNNING: frozenset({J.PENDING}) | ENDS,
    J.COMPLETED: frozenset(),
    J.FAILED: frozenset(),
    J.CANCELLED: frozenset(),
    J.REFUSED: frozenset(),
}

_OUT_OF_POSTING = frozenset({A.HELD, A.RUNNING, A.IN_DOUBT, A.ENDED, A.REFUSED, A.WITHDRAWN, A.UNDELIVERED, A.LOST})

ATTEMPT_TRANSITIONS: dict[AttemptState, frozenset[AttemptState]] = {
    A.POSTING: _OUT_OF_POSTING,
    A.PROBING: _OUT_OF_POSTING,
    A.HELD: frozenset({A.RUNNING, A.ENDED, A.WITHDRAWN, A.LOST, A.MOVED}),
    A.RUNNING: frozenset({A.ENDED, A.LOST, A.MOVED}),
    A.IN_DOUBT: frozenset({A.HELD, A.RUNNING, A.ENDED, A.WITHDRAWN, A.LOST, A.MOVED}),
    A.ENDED: frozenset(),
    A.REFUSED: frozenset(),
    A.WITHDRAWN: frozenset(),
    A.UNDELIVERED: frozenset(),
    A.LOST: frozenset(),
    A.MOVED: frozenset(),
}

OPEN_ATTEMPTS = frozenset({A.POSTING, A.PROBING, A.HELD, A.RUNNING, A.IN_DOUBT})


def check_job(was: JobState, becomes: JobState) -> None:
    """Raises IllegalTransition unless the table has it."""
    if becomes not in JOB_TRANSITIONS[was]:
        raise IllegalTransition(f"a {was} job cannot become {becomes}")


def check_attempt(was: AttemptState, becomes: AttemptState) -> None:
    """Raises IllegalTransition unless the table has it."""
    if becomes not in ATTEMPT_TRANSITIONS[was]:
        raise IllegalTransition(f"a {was} attempt cannot become {becomes}")
