"""The archive: outputs are copied into the gateway's blob store while they are fresh, so a picture outlives its runner.

Copies are made in the background, a few at a time. What could not be copied because its runner is down is tried again
when a runner becomes ready. Old copies go by age, by the archive's size and by what their owner may store; a name whose
copy went is still served by the runner that wrote the file, as long as that has it. Uploads of the type temp go by age,
too: ComfyUI empties that folder at its start, but the gateway's jobs, which may name them, outlive a start.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any

import structlog

from gateway.clock import DAY_MS, Clock
from gateway.comfyui.outputs import OutputFile
from gateway.config import ArchiveConfig
from gateway.files.outputs import OutputName, OutputNames
from gateway.files.stored import Stored
from gateway.files.uploads import Uploads
from gateway.runners.errors import RunnerError, RunnerMisanswered
from gateway.storage.blobs import BlobStore
from gateway.storage.errors import StorageError
from gateway.storage.files import OutputRow, UploadRow
from gateway.tasks import kept

COPIES_AT_ONCE = 4
SWEEP_SECONDS = 600.0
TEMP_MS = DAY_MS  # after its upload a file of the type temp is forgotten

AGE, SIZE, QUOTA = WHYS = ("age", "size", "quota")  # why a copy goes

FetchOutput = Callable[[OutputRow], AbstractAsyncContextManager[AsyncIterator[bytes]]]

log = structlog.get_logger(__name__)


class Archive:
    """Copies of outputs in the blob store.

    ``fetch_output`` opens the bytes of an output on the runner that has it; it raises RunnerError. ``stored`` says who
    has more than it may. ``dropped`` counts the copies that went, by why.
    """

    def __init__(
        self,
        outputs: OutputNames,
        uploads: Uploads,
        blobs: BlobStore,
        *,
        fetch_output: FetchOutput,
        settings: ArchiveConfig,
        clock: Clock,
        stored: Stored | None = None,
    ) -> None:
        self.dropped: Counter[str] = Counter(dict.fromkeys(WHYS, 0))
        self._stored = stored or Stored()
        self._trims: dict[str, asyncio.Task[None]] = {}
        self._outputs = outputs
        self._uploads = uploads
        self._blobs = blobs
        self._fetch_output = fetch_output
        self._settings = settings
        self._clock = clock
        self._wanted: asyncio.Queue[OutputName] = asyncio.Queue()
        self._postponed: set[OutputName] = set()
        self._fetches: dict[tuple[str, OutputFile, int], asyncio.Task[str]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._began = clock.wall_ms(), clock.monotonic()

    def start(self) -> None:
        """Begins to copy, and to drop what is too old or too much."""
        self._stored.on_excess = self._trim_soon
        self._outputs.on_written_over = self._drop_soon
        self._start(self._sweep_for_ever())
        if not self._settings.enabled:
            return
        for row in self._outputs.rows():
            if row.content_hash is None and not row.lost:
                self._postponed.add(_name(row))
        for _ in range(COPIES_AT_ONCE):
            self._start(self._copy_for_ever())

    async def close(self) -> None:
        """Ends the copies under way; they are made at the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def want(self, owner: str, files: Iterable[OutputFile]) -> None:
        """A job of that owner has ended with these files, by their public names."""
        self._want((owner, file) for file in files)

    def _want(self, names: Iterable[OutputName]) -> None:
        if self._settings.enabled:
            for name in names:
                self._wanted.put_nowait(name)

    def runner_ready(self) -> None:
        """A runner is ready: what waited for one is tried again."""
        postponed, self._postponed = self._postponed, set()
        self._want(postponed)

    async def ensure(self, row: OutputRow) -> str:
        """The content hash of an output, once it is in the blob store; each file of a runner is fetched once, also if
        several owners have it as theirs.

        Raises RunnerError where its runner cannot give it, StorageError where it cannot be kept.
        """
        if row.content_hash is not None:
            return row.content_hash
        own = OutputFile(row.runner_filename, row.runner_subfolder, row.type)
        key = (row.runner, own, row.generation)
        task = self._fetches.get(key)
        if task is None:
            task = self._fetches[key] = self._start(self._fetch(row))
            task.add_done_callback(lambda _: self._fetches.pop(key, None))
        return await asyncio.shield(task)

    async def rescue(self, runner: str) -> int:
        """Copies what only this runner has, because it is about to leave. Returns how many files could not be had."""
        if not self._settings.enabled:
            return 0
        rows = [
            row for row in self._outputs.rows() if row.runner == runner and row.content_hash is None and not row.lost
        ]
        at_once = asyncio.Semaphore(COPIES_AT_ONCE)

        async def copied(row: OutputRow) -> bool:
            async with at_once:
                try:
                    await self.ensure(row)
                except (RunnerError, StorageError) as error:
                    log.warning("archive.not_rescued", file=row.filename, runner=runner, reason=str(error))
                    return False
            return True

        return (await asyncio.gather(*(copied(row) for row in rows))).count(False)

    async def sweep(self) -> int:
        """Drops copies that are too old, then the oldest while there are too many bytes. Returns how many went.

        Raises StorageError.
        """
        kept = sorted((row for row in self._outputs.rows() if row.content_hash), key=lambda row: row.created_at)
        oldest = self._now() - self._settings.max_age_days * DAY_MS
        total = sum(row.size or 0 for row in kept)
        dropped = 0
        for row in kept:
            if row.created_at >= oldest and total <= self._settings.max_bytes:
                break
            self.dropped[AGE if row.created_at < oldest else SIZE] += 1
            total -= row.size or 0
            await self._drop(row)
            dropped += 1
        if dropped:
            log.info("archive.swept", dropped=dropped, bytes_left=total)
        return dropped

    async def trim(self, owner: str) -> int:
        """Drops an owner's oldest copies while it has more than it may, but never its newest. Returns how many went.

        Raises StorageError.
        """
        dropped = 0
        while self._stored.has_excess(owner) and (row := self._outputs.oldest_copy(owner)) is not None:
            self.dropped[QUOTA] += 1
            await self._drop(row)
            dropped += 1
        if dropped:
            log.info("archive.trimmed", owner=owner or None, dropped=dropped, bytes_left=self._stored.of(owner))
        return dropped

    def _trim_soon(self, owner: str) -> None:
        if owner not in self._trims:
            task = self._trims[owner] = self._start(self._trim(owner))
            task.add_done_callback(lambda _: self._trims.pop(owner, None))

    async def _trim(self, owner: str) -> None:
        try:
            await self.trim(owner)
        except StorageError as error:  # the next copy, or the next sweep, tries again
            log.error("archive.not_trimmed", owner=owner or None, reason=str(error))

    async def empty_temp(self) -> int:
        """Forgets uploads of the type temp that are too old. Returns how many went. Raises StorageError."""
        rows = self._uploads.older_than(self._now() - TEMP_MS, "temp")
        for row in rows:
            await self.remove_upload(row)
        return len(rows)

    def _now(self) -> int:
        """By which things are old, in milliseconds since the epoch: setting the clock forward makes nothing old."""
        wall_ms, seconds = self._began
        return min(self._clock.wall_ms(), wall_ms + round((self._clock.monotonic() - seconds) * 1000))

    async def remove_upload(self, row: UploadRow) -> None:
        """Forgets an upload, and its content where nothing else has it. Raises StorageError."""
        await self._uploads.delete(row)
        await self._drop_unused(row.content_hash)

    async def _drop(self, row: OutputRow) -> None:
        await self._outputs.unarchived(row)
        if row.content_hash is not None:
            await self._drop_unused(row.content_hash)

    def _drop_soon(self, content: str) -> None:
        self._start(self._drop_unused(content))

    async def _drop_unused(self, content: str) -> None:
        await self._blobs.discard(content, lambda: self._is_used(content))

    def _is_used(self, content: str) -> bool:
        return self._uploads.uses(content) or self._outputs.uses(content)

    async def _fetch(self, row: OutputRow) -> str:
        async with self._fetch_output(row) as chunks:
            blob = await self._blobs.put(chunks)
        await self._outputs.archived(row, blob.hash, blob.size)
        now = self._outputs.find(row.type, row.subfolder, row.filename, row.owner)
        if now is None or (now.runner, now.generation) != (row.runner, row.generation):
            raise StorageError(f"{row.filename} was written over while it was copied")
        return blob.hash

    async def _copy_for_ever(self) -> None:
        while True:
            owner, file = await self._wanted.get()
            row = self._outputs.find(file.type, file.subfolder, file.filename, owner)
            if row is None or row.content_hash is not None:
                continue
            try:
                await self.ensure(row)
            except RunnerMisanswered as error:
                log.warning("archive.gone", file=file.filename, runner=row.runner, job=row.job_id, reason=error.reason)
            except (RunnerError, StorageError) as error:
                log.warning(
                    "archive.postponed", file=file.filename, runner=row.runner, job=row.job_id, reason=str(error)
                )
                self._postponed.add((owner, file))

    async def _sweep_for_ever(self) -> None:
        while True:
            try:
                await self.empty_temp()
                for owner in self._stored.owners():
                    await self.trim(owner)  # tokens, and so what it may store, may have changed
                if self._settings.enabled:
                    await self.sweep()
            except StorageError as error:
                log.error("archive.not_swept", reason=str(error))
            await asyncio.sleep(SWEEP_SECONDS)

    def _start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return kept(work, self._tasks)


def _name(row: OutputRow) -> OutputName:
    return row.owner, OutputFile(row.filename, row.subfolder, row.type)
