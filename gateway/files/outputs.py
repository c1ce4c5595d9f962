"""One address space for the files of all runners: which public name a runner's file gets, and back.

Every runner counts its own `ComfyUI_00001_.png`. Here a file keeps its name where that is free, and else gets the name
that one server would have given. Names are never guessed: what isn't here has no file.
"""

import asyncio
import posixpath
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from gateway.clock import Clock
from gateway.comfyui import names
from gateway.comfyui.outputs import OutputFile
from gateway.storage.database import Database
from gateway.storage.files import OutputRow, load_outputs, upsert_output

_RunnerFile = tuple[str, OutputFile]


class OutputNames:
    """The public names of all outputs; all of them in memory, each in the database before it is told.

    `reserved(type, subfolder, filename)` says which names belong to something else (uploads) and are not given.
    """

    def __init__(
        self,
        db: Database,
        *,
        reserved: Callable[[str, str, str], bool] = lambda *_: False,
        clock: Clock | None = None,
    ) -> None:
        self._db = db
        self._reserved = reserved
        self._clock = clock or Clock()
        self._by_name: dict[OutputFile, OutputRow] = {}
        self._in_folder: dict[tuple[str, str], dict[str, OutputRow]] = {}  # (type, subfolder) -> by name, oldest first
        self._current: dict[_RunnerFile, OutputRow] = {}  # what each runner's file is now
        self._of_job: dict[tuple[str, str, OutputFile], OutputFile] = {}  # (job, runner, its file) -> public name
        self._highest: dict[tuple[str, str, str], int] = {}  # (type, subfolder, prefix) -> number
        self._writes: dict[OutputFile, asyncio.Future[None]] = {}  # the last, if not yet done
        self._unclaimed: set[_RunnerFile] = set()  # heard of as cached before the job that wrote it was
        self._unwritten: set[OutputFile] = set()  # whose last write failed

    async def load(self) -> None:
        """Read the names from the database; before anything else."""
        for row in sorted(await load_outputs(self._db), key=lambda row: row.created_at):
            self._add(row)

    async def assign_all(
        self, job_id: str, runner: str, files: Iterable[OutputFile], *, fresh: bool, since: int | None = None
    ) -> list[OutputFile]:
        """The public names of files, in their order; all are in the database when it returns.

        `fresh`: the node ran in this job, so the content is new, whatever was under that name before. Otherwise the
        node was cached and its files are those of an earlier job. `since`: when the runner was given the job, in
        milliseconds; where a file was first heard of as a cached one, a job that the runner had by then is taken for
        the one that wrote it: ends may be heard of in another order than that in which they came. Asked again, a job
        gets the same names. Raises StorageError if a name can't be kept; it may be asked for again.
        """
        public = [self._public_name(job_id, runner, file, fresh, since) for file in files]
        self._write_unwritten()
        for write in {self._writes[name] for name in public if name in self._writes}:
            await asyncio.shield(write)
        return public

    def find(self, type: str, subfolder: str, filename: str) -> OutputRow | None:  # noqa: A002
        """The output with that public name, if its content can still be had: from its runner or, with a
        `content_hash`, from the blob store. A `lost` one can be had from the blob store only."""
        row = self._by_name.get(OutputFile(filename, subfolder, type))
        if row is None:
            row = self._by_name.get(OutputFile(filename, names.normal_subfolder(subfolder), type))
        return None if row is None or (row.lost and row.content_hash is None) else row

    def of_runner(self, runner: str, file: OutputFile) -> OutputRow | None:
        """The output that is now in a runner's file, by the runner's own name of it."""
        return self._current.get((runner, file))

    def is_taken(self, type: str, subfolder: str, filename: str) -> bool:  # noqa: A002
        """Whether an output has, or had, that public name."""
        return OutputFile(filename, subfolder, type) in self._by_name

    async def archived(self, row: OutputRow, content_hash: str, size: int) -> None:
        """Note that the content of an output is in the blob store; ignored if the output has changed since `row`."""
        name = _public(row)
        known = self._by_name.get(name)
        if known is None or (known.runner, known.generation) != (row.runner, row.generation):
            return
        self._change(replace(known, content_hash=content_hash, size=size))
        self._write_unwritten()
        await asyncio.shield(self._writes[name])

    async def unarchived(self, row: OutputRow) -> None:
        """Note that the content of an output is no longer in the blob store."""
        name = _public(row)
        known = self._by_name.get(name)
        if known is None or known.content_hash != row.content_hash:
            return
        self._change(replace(known, content_hash=None))
        self._write_unwritten()
        await asyncio.shield(self._writes[name])

    def rows(self) -> list[OutputRow]:
        """Every output, in no order."""
        return list(self._by_name.values())

    def newest(self, type: str, subfolder: str) -> Iterator[OutputRow]:  # noqa: A002
        """What lies in a folder itself, the newest first; the names must not change meanwhile."""
        return reversed(self._in_folder.get((type, subfolder), {}).values())

    # No awaits below: two callers never get the same name.

    def _public_name(
        self, job_id: str, runner: str, file: OutputFile, fresh: bool, since: int | None = None
    ) -> OutputFile:
        known = self._of_job.get((job_id, runner, file))
        if known is not None:
            return known
        before = self._current.get((runner, file))
        if before is not None and not fresh:
            return _public(before)
        if before is not None and since is not None and (runner, file) in self._unclaimed:
            self._unclaimed.discard((runner, file))
            if since <= before.created_at:
                return _public(before)
        if before is None and not fresh:
            self._unclaimed.add((runner, file))
        generation = before.generation + 1 if before else 1
        if before is None:
            name = file if self._is_free(file) else self._next_name(file)
        elif names.split_counter(file.filename) is None:
            name = _public(before)  # written over, as on one server
        else:
            self._change(replace(before, lost=True))
            name = self._next_name(file)
        self._change(
            OutputRow(
                type=name.type,
                subfolder=name.subfolder,
                filename=name.filename,
                runner=runner,
                runner_subfolder=file.subfolder,
                runner_filename=file.filename,
                job_id=job_id,
                created_at=self._clock.wall_ms(),
                generation=generation,
            )
        )
        return name

    def _is_free(self, name: OutputFile) -> bool:
        return name not in self._by_name and not self._reserved(name.type, name.subfolder, name.filename)

    def _next_name(self, file: OutputFile) -> OutputFile:
        """The name that one server would have given: the number after the highest of its prefix, whatever the
        extension (ComfyUI folder_paths.get_save_image_path); a name without a number gets `stem_00002_.ext`."""
        counter = names.split_counter(file.filename)
        if counter is None:
            stem, extension = posixpath.splitext(file.filename)
            counter = names.Counter(stem, 1, 5, f"_{extension}")
        key = (file.type, file.subfolder, counter.prefix)
        number = max(self._highest.get(key, 0), counter.number)
        while True:
            number += 1
            name = replace(file, filename=names.format_counter(counter, number))
            if self._is_free(name):
                self._highest[key] = number
                return name

    def _change(self, row: OutputRow) -> None:
        self._add(row)
        self._unwritten.add(_public(row))

    def _add(self, row: OutputRow) -> None:
        name, own = _public(row), OutputFile(row.runner_filename, row.runner_subfolder, row.type)
        before = self._by_name.get(name)
        self._by_name[name] = row
        folder = self._in_folder.setdefault((row.type, row.subfolder), {})
        if before is not None and before.generation != row.generation:
            del folder[row.filename]  # written anew: the newest from now on
        folder[row.filename] = row
        self._of_job[row.job_id, row.runner, own] = name
        current = self._current.get((row.runner, own))
        if current is None or current.generation <= row.generation:
            self._current[row.runner, own] = row
        counter = names.split_counter(name.filename)
        if counter is not None:
            key = (name.type, name.subfolder, counter.prefix)
            self._highest[key] = max(self._highest.get(key, 0), counter.number)

    def _write_unwritten(self) -> None:
        if not self._unwritten:
            return
        written, self._unwritten = self._unwritten, set()
        write = self._db.write(*(upsert_output(self._by_name[name]) for name in written))
        self._writes.update(dict.fromkeys(written, write))

        def settle(write: asyncio.Future[None]) -> None:
            mine = {name for name in written if self._writes.get(name) is write}
            for name in mine:
                del self._writes[name]
            if write.cancelled() or write.exception() is not None:
                self._unwritten |= mine

        write.add_done_callback(settle)


def _public(row: OutputRow) -> OutputFile:
    return OutputFile(row.filename, row.subfolder, row.type)
