"""Who hears of the live jobs: what clients are to see, and every change of state. Who tells them is the registry."""

from __future__ import annotations

from typing import Protocol

from gateway.comfyui.messages import Message
from gateway.jobs.job import Attempt, Job
from gateway.jobs.states import AttemptState, JobState
from gateway.runners.runner import Runner


class JobListener(Protocol):
    """Who is told what clients see: the sessions room. Calls return at once; their order is the client's order.

    Frames with a progress text (type 3) are in the long form, with the job's id.
    """

    def job_message(self, job: Job, message: Message) -> None:
        """A text message for the job's client."""

    def job_frame(self, job: Job, frame: bytes) -> None:
        """A binary frame for the job's client."""

    def job_lost(self, job: Job) -> None:
        """The job's runner is gone: it will begin anew elsewhere, or be ended."""

    def queue_changed(self, owner: str) -> None:
        """The number of an owner's jobs that are not done changed."""

    def runner_message(self, runner: str, message: Message) -> None:
        """A text message of a runner that belongs to no job."""

    def runner_frame(self, runner: str, frame: bytes) -> None:
        """A binary frame of a runner that belongs to no job."""

    async def runner_connected(self, runner: Runner) -> None:
        """A runner answers, perhaps after a restart. Raises RunnerError."""


class Watcher(Protocol):
    """Who hears of every change of state, right after it. Calls return at once and change no state themselves."""

    def job_turned(self, job: Job, was: JobState) -> None:
        """A job has another state."""

    def attempt_turned(self, attempt: Attempt, was: AttemptState, reason: str) -> None:
        """An attempt has another state."""
