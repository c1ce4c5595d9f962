"""What has to be counted as it happens. Whatever can be read from the rooms at a scrape is in `collector`.

Labels are bounded: states, ends and routes are enumerated, runners are the operator's.
"""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from gateway.clock import Clock
from gateway.jobs.job import Attempt, Job
from gateway.jobs.states import ENDS, AttemptState, JobState

SECONDS_OF_JOBS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400)
SECONDS_OF_REQUESTS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
SECONDS_OF_COMMITS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
OPERATIONS_OF_BATCHES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"
ENDS_TOLD = {
    "execution_success": "success",
    "execution_error": "error",
    "execution_interrupted": "interrupted",
}  # how a runner ends an attempt

disable_created_metrics()  # type: ignore[no-untyped-call]  # else each counter has a time series of its birth


class Meters:
    """The counters and histograms of one gateway, in a registry of their own. It is a Watcher of the jobs' registry."""

    def __init__(self, clock: Clock) -> None:
        self.registry = registry = CollectorRegistry()
        self._clock = clock
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        self._accepted = Counter("comfy_gateway_jobs_accepted", "Prompts accepted.", registry=registry)
        self._refused = Counter(
            "comfy_gateway_jobs_refused", "Prompts refused by validation, or for want of a runner.", registry=registry
        )
        self._ended = Counter("comfy_gateway_jobs_ended", "Jobs that have ended.", ["state"], registry=registry)
        self._waiting = Histogram(
            "comfy_gateway_job_waiting_seconds",
            "From a job's acceptance until a runner first began it.",
            buckets=SECONDS_OF_JOBS,
            registry=registry,
        )
        self._running = Histogram(
            "comfy_gateway_job_running_seconds",
            "From the begin of a job's last attempt to the job's end.",
            ["state"],
            buckets=SECONDS_OF_JOBS,
            registry=registry,
        )
        self._attempts = Counter(
            "comfy_gateway_attempts_ended",
            "Attempts that have ended, by how: success, error, interrupted, or why the runner did not end them.",
            ["runner", "end"],
            registry=registry,
        )
        self._batches = Histogram(
            "comfy_gateway_database_batch_operations",
            "Operations written in one transaction.",
            buckets=OPERATIONS_OF_BATCHES,
            registry=registry,
        )
        self._commits = Histogram(
            "comfy_gateway_database_commit_seconds",
            "For one transaction, from its first operation to its commit.",
            buckets=SECONDS_OF_COMMITS,
            registry=registry,
        )
        self._requests = Counter(
            "comfy_gateway_http_requests", "Requests answered.", ["route", "method", "status"], registry=registry
        )
        self._request_seconds = Histogram(
            "comfy_gateway_http_request_seconds",
            "From a request's headers to the end of its answer; websockets are left out.",
            ["route"],
            buckets=SECONDS_OF_REQUESTS,
            registry=registry,
        )
        self._readers_aborted = Counter(
            "comfy_gateway_http_slow_readers",
            "Connections aborted because their client took nothing of what it was sent.",
            registry=registry,
        )
        self._answers: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}  # looking labels up takes a while

    # Watcher

    def job_turned(self, job: Job, was: JobState) -> None:
        """See Watcher."""
        if job.state is JobState.REFUSED:
            self._refused.inc()
        elif was is JobState.SUBMITTING:
            self._accepted.inc()
        begun = [attempt.started_at for attempt in job.attempts if attempt.started_at is not None]
        if job.state is JobState.RUNNING and len(begun) == 1:
            self._waiting.observe(_seconds(begun[0] - job.created_at))
        if job.state in ENDS:
            self._ended.labels(job.state.value).inc()
            if begun:
                self._running.labels(job.state.value).observe(_seconds(self._clock.wall_ms() - begun[-1]))

    def attempt_turned(self, attempt: Attempt, was: AttemptState, reason: str) -> None:
        """See Watcher."""
        if not attempt.is_open:
            end = ENDS_TOLD.get(reason, OTHER) if attempt.state is AttemptState.ENDED else attempt.state.value
            self._attempts.labels(attempt.runner, end).inc()

    # the database, HTTP

    def committed(self, operations: int, seconds: float) -> None:
        """A batch of writes was tried."""
        if operations:
            self._batches.observe(operations)
            self._commits.observe(seconds)

    def reader_aborted(self) -> None:
        """A client took nothing of what it was sent, for too long."""
        self._readers_aborted.inc()

    def answered(self, route: str, method: str, status: int, seconds: float | None) -> None:
        """A request was answered; ``route`` is its family, ``seconds`` None for a websocket."""
        key = (route, method if method in METHODS else OTHER, status)
        known = self._answers.get(key)
        if known is None:
            counter = self._requests.labels(*key[:2], str(status))
            known = self._answers[key] = counter, self._request_seconds.labels(route)
        known[0].inc()
        if seconds is not None:
            known[1].observe(seconds)


def _seconds(milliseconds: int) -> float:
    return max(milliseconds, 0) / 1000
