"""Where the archive is off, the files of completed workflows are copied into the blob store all the same, so that they
outlive their runner. Where it is on, it does so itself, for every job."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from gateway.comfyui.outputs import OutputFile
from gateway.files.archive import Archive
from gateway.files.outputs import OutputNames
from gateway.jobs.job import Attempt, Job
from gateway.jobs.states import AttemptState, JobState
from gateway.runners.errors import RunnerError
from gateway.storage.errors import StorageError

log = structlog.get_logger(__name__)

FilesOf = Callable[[str], Awaitable[tuple[str, list[OutputFile]]]]


class Keeper:
    """Watches jobs complete. ``files_of`` gives a workflow's owner and its files, none for what is no workflow."""

    def __init__(self, archive: Archive, outputs: OutputNames, files_of: FilesOf) -> None:
        self._archive = archive
        self._outputs = outputs
        self._files_of = files_of
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Ends the copies under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def job_turned(self, job: Job, was: JobState) -> None:
        """See Watcher."""
        if job.state is JobState.COMPLETED:
            task = asyncio.create_task(self._keep(job.id), name=f"outputs of {job.id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def attempt_turned(self, attempt: Attempt, was: AttemptState, reason: str) -> None:
        """See Watcher."""

    async def _keep(self, job_id: str) -> None:
        try:
            owner, files = await self._files_of(job_id)
            for file in files:
                row = self._outputs.find(file.type, file.subfolder, file.filename, owner)
                if row is not None:
                    await self._archive.ensure(row)
        except (RunnerError, StorageError) as error:
            log.warning("workflow.outputs_not_kept", workflow=job_id, reason=str(error))
