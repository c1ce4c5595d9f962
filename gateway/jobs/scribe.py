"""Who writes down more in the transaction of a job's change: what has to be stored with it, or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gateway.jobs.job import Job
from gateway.jobs.states import JobState
from gateway.storage.database import Operation


class Scribe(Protocol):
    """Writes beside the jobs room. Calls return at once and change no state of a job."""

    def beside(
        self, job: Job, becomes: JobState, entry: Mapping[str, Any] | None = None, *, certain: bool = True
    ) -> Sequence[Operation]:
        """What is to be written with a change of state.

        Args:
            becomes: the state that the job has now, or is about to have.
            entry: of an end, the history entry as clients see it; None where the end leaves none.
            certain: False where the transaction may fail; the same change is then told once more.
        """


class NoScribe:
    """Writes nothing more."""

    def beside(
        self, job: Job, becomes: JobState, entry: Mapping[str, Any] | None = None, *, certain: bool = True
    ) -> Sequence[Operation]:
        """See Scribe."""
        return ()
