"""One address space for the files of all runners, for each owner: which public name a runner's file gets, and back.

Every runner counts its own `ComfyUI_00001_.png`. Here a file keeps its name where that is free, and else gets the name
that one server would have given. Names are never guessed: what isn't here has no file. An owner's names are its own,
and two owners may have the same. Numbers count what the owner has made, since the runners' would tell how much others
have; without tokens the one owner sees the runners' own.

A runner's file may be several owners' output, under a name of each: a cached node's files are those of the job that ran
it, whoever's that was.
"""

import asyncio
import posixpath
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from gateway.clock import Clock
from gateway.comfyui import names
from gateway.comfyui.outputs import OutputFile
from gateway.files.stored import Stored
from gateway.storage.database import Database
from gateway.storage.files import OutputRow, load_outputs, upsert_output

OutputName = tuple[str, OutputFile]  # the owner, and the public name
_RunnerFile = tuple[str, OutputFile]


@dataclass(slots=True)
class _Space:
    """One owner's names."""

    by_name: dict[OutputFile, OutputRow] = field(default_factory=dict)
    in_folder: dict[tuple[str, str], dict[str, OutputRow]] = field(default_factory=dict)  # by name, oldest first
    highest: dict[tuple[str, str, str], int] = field(default_factory=dict)  # (type, subfolder, prefix) -> number
    copies: dict[OutputFile, None] = field(default_factory=dict)  # which have one, the last that was made last


class OutputNames:
    """The public names of all outputs; all of them in memory, each in the database before it is told.

    `reserved(type, subfolder, filename, owner)` says which names belong to something else of the owner's (uploads) and
    are not given. `stored` counts what every owner has copies of.
    """

    def __init__(
        self,
        db: Database,
        *,
        reserved: Callable[[str, str, str, str], bool] = lambda *_: False,
        clock: Clock | None = None,
        stored: Stored | None = None,
    ) -> None:
        self._db = db
        self._stored = stored or Stored()
        self.on_written_over: Callable[[str], None] = lambda _hash: None  # called with a content that no name has now
        self._reserved = reserved
        self._clock = clock or Clock()
        self._spaces: dict[str, _Space] = {}
        self._current: dict[_RunnerFile, OutputRow] = {}  # what each runner's file is now, of one of its owners
        self._shared: dict[_RunnerFile, dict[str, OutputRow]] = {}  # the same by owner, where there are several
        self._of_job: dict[tuple[str, str, OutputFile], OutputFile] = {}  # (job, runner, its file) -> public name
        self._writes: dict[OutputName, asyncio.Future[None]] = {}  # the last, if not yet done
        self._unwritten: set[OutputName] = set()  # whose last write failed

    async def load(self) -> None:
        """Read the names from the database; before anything else."""
        for row in sorted(await load_outputs(self._db), key=lambda row: row.created_at):
            self._add(row)

    async def assign_all(
        self,
        job_id: str,
        runner: str,
        files: Iterable[OutputFile],
        *,
        fresh: bool,
        owner: str = "",
        since: int | None = None,
    ) -> list[OutputFile]:
        """The public names of files, in their order; all are in the database when it returns.

        `fresh`: the node ran in this job, so the content is new, whatever was under that name before. Otherwise the
        node was cached and its files are those of an earlier job. `owner`: whose job it is. `since`: when the runner
        was given the job, in milliseconds; where a file was first heard of as a cached one, a job that the runner had
        by then is taken for the one that wrote it: ends may be heard of in another order than that in which they came.
        Asked again, a job gets the same names. Raises StorageError if a name can't be kept; it may be asked for again.
        """
        public = [self._public_name(job_id, runner, file, fresh, owner, since) for file in files]
        self._write_unwritten()
        written = ((owner, file) for file in public)
        for write in {self._writes[name] for name in written if name in self._writes}:
            await asyncio.shield(write)
        return public

    def find(self, type: str, subfolder: str, filename: str, owner: str = "") -> OutputRow | None:  # noqa: A002
        """The owner's output with that public name, if its content can still be had: from its runner or, with a
        `content_hash`, from the blob store. A `lost` one can be had from the blob store only."""
        row = self._named(owner, OutputFile(filename, subfolder, type))
        if row is None:
            row = self._named(owner, OutputFile(filename, names.normal_subfolder(subfolder), type))
        return None if row is None or (row.lost and row.content_hash is None) else row

    def is_taken(self, type: str, subfolder: str, filename: str, owner: str = "") -> bool:  # noqa: A002
        """Whether an output of the owner's has, or had, that public name."""
        return self._named(owner, OutputFile(filename, subfolder, type)) is not None

    def owners(self) -> list[str]:
        """Who has outputs."""
        return list(self._spaces)

    def of_runner(self, runner: str, file: OutputFile) -> OutputRow | None:
        """The output that is now in a runner's file, by its own name of it; one owner's, if several have it."""
        return self._current.get((runner, file))

    async def archived(self, row: OutputRow, content_hash: str, size: int) -> None:
        """Note that the content of an output is in the blob store; ignored if the output has changed since `row`. The
        others who have that file as theirs have its content, too."""
        known = self._named(*_name(row))
        if known is None or known.lost or (known.runner, known.generation) != (row.runner, row.generation):
            return
        sharing = [each for each in self._rows_of(_own(known)).values() if each.generation == known.generation]
        for each in sharing:
            self._change(replace(each, content_hash=content_hash, size=size))
        self._write_unwritten()
        await asyncio.shield(self._writes[_name(row)])

    async def unarchived(self, row: OutputRow) -> None:
        """Note that the content of an output is no longer in the blob store."""
        known = self._named(*_name(row))
        if known is None or known.content_hash != row.content_hash:
            return
        self._change(replace(known, content_hash=None))
        self._write_unwritten()
        await asyncio.shield(self._writes[_name(row)])

    def rows(self) -> list[OutputRow]:
        """Everyone's outputs, in no order."""
        return [row for space in self._spaces.values() for row in space.by_name.values()]

    def oldest_copy(self, owner: str) -> OutputRow | None:
        """Of an owner's outputs that are in the blob store, the one that came there first; None where there is only the
        newest, or none."""
        space = self._spaces.get(owner)
        return space.by_name[next(iter(space.copies))] if space is not None and len(space.copies) > 1 else None

    def uses(self, content_hash: str) -> bool:
        """Whether any output has that content in the blob store."""
        return self._stored.uses(content_hash)

    def newest(self, type: str, subfolder: str, owner: str = "") -> Iterator[OutputRow]:  # noqa: A002
        """What lies in a folder of the owner's itself, the newest first; the names must not change meanwhile."""
        space = self._spaces.get(owner)
        return reversed(space.in_folder.get((type, subfolder), {}).values()) if space is not None else iter(())

    def _named(self, owner: str, file: OutputFile) -> OutputRow | None:
        space = self._spaces.get(owner)
        return space.by_name.get(file) if space is not None else None

    def _rows_of(self, own: _RunnerFile) -> dict[str, OutputRow]:
        """What a runner's file is now, by owner."""
        current = self._current.get(own)
        return self._shared.get(own) or ({current.owner: current} if current is not None else {})

    # No awaits below: two callers never get the same name.

    def _public_name(
        self, job_id: str, runner: str, file: OutputFile, fresh: bool, owner: str = "", since: int | None = None
    ) -> OutputFile:
        own = (runner, file)
        known = self._of_job.get((job_id, *own))
        if known is not None:
            return known
        before = self._current.get(own)
        if before is not None and not fresh:
            return self._name_of_cached(job_id, own, before, owner)
        if before is not None and before.unclaimed and since is not None and since <= before.created_at:
            name = self._name_of_cached(job_id, own, before, owner)
            self._claim(job_id, own, owner)
            return name
        name = self._name_of_new(own, owner)
        row = self._row(job_id, own, name, owner, before.generation + 1 if before else 1)
        self._change(replace(row, unclaimed=not fresh))
        return name

    def _claim(self, job_id: str, own: _RunnerFile, owner: str) -> None:
        """The job that wrote a file is known from now on, also after a restart."""
        for row in list(self._rows_of(own).values()):
            self._change(replace(row, unclaimed=False, job_id=job_id if row.owner == owner else row.job_id))

    def _name_of_cached(self, job_id: str, own: _RunnerFile, before: OutputRow, owner: str) -> OutputFile:
        """The name that the content of a runner's file has; one of the owner's own, if it was another's until now."""
        mine = self._rows_of(own).get(owner)
        if mine is not None:
            return _public(mine)
        name = self._first_name(owner, own[1])
        row = self._row(job_id, own, name, owner, before.generation)
        self._change(replace(row, content_hash=before.content_hash, size=before.size))
        return name

    def _name_of_new(self, own: _RunnerFile, owner: str) -> OutputFile:
        """The name of what a runner's file is from now on; who had it as theirs have lost what was in it."""
        file, before = own[1], self._rows_of(own)
        mine = before.get(owner)
        written_over = mine is not None and names.split_counter(file.filename) is None  # as on one server
        for row in list(before.values()):
            if row is not mine or not written_over:
                self._change(replace(row, lost=True))
        if mine is None:
            return self._first_name(owner, file)
        return _public(mine) if written_over else self._next_name(owner, file)

    def _row(self, job_id: str, own: _RunnerFile, name: OutputFile, owner: str, generation: int) -> OutputRow:
        runner, file = own
        return OutputRow(
            type=name.type,
            subfolder=name.subfolder,
            filename=name.filename,
            runner=runner,
            runner_subfolder=file.subfolder,
            runner_filename=file.filename,
            job_id=job_id,
            created_at=self._clock.wall_ms(),
            generation=generation,
            owner=owner,
        )

    def _is_free(self, owner: str, name: OutputFile) -> bool:
        return self._named(owner, name) is None and not self._reserved(name.type, name.subfolder, name.filename, owner)

    def _first_name(self, owner: str, file: OutputFile) -> OutputFile:
        """The name of a runner's file that has none of this owner's yet: the runner's own, if it is free and tells
        nothing of others."""
        tells_of_others = owner and names.split_counter(file.filename) is not None
        return file if not tells_of_others and self._is_free(owner, file) else self._next_name(owner, file)

    def _next_name(self, owner: str, file: OutputFile) -> OutputFile:
        """The name that one server would have given: the number after the highest of its prefix, whatever the
        extension (ComfyUI folder_paths.get_save_image_path); a name without a number gets `stem_00002_.ext`."""
        counter = names.split_counter(file.filename)
        at_least = counter.number if counter is not None and not owner else 0
        if counter is None:
            stem, extension = posixpath.splitext(file.filename)
            counter, at_least = names.Counter(stem, 1, 5, f"_{extension}"), 1
        highest = self._spaces.setdefault(owner, _Space()).highest
        key = (file.type, file.subfolder, counter.prefix)
        number = max(highest.get(key, 0), at_least)
        while True:
            number += 1
            name = replace(file, filename=names.format_counter(counter, number))
            if self._is_free(owner, name):
                highest[key] = number
                return name

    def _change(self, row: OutputRow) -> None:
        self._add(row)
        self._unwritten.add(_name(row))

    def _add(self, row: OutputRow) -> None:
        name, own = _public(row), _own(row)
        space = self._spaces.setdefault(row.owner, _Space())
        before = space.by_name.get(name)
        space.by_name[name] = row
        folder = space.in_folder.setdefault((row.type, row.subfolder), {})
        if before is not None and before.generation != row.generation:
            del folder[row.filename]  # written anew: the newest from now on
        folder[row.filename] = row
        self._note_copy(space, before, row)
        self._of_job[row.job_id, *own] = name
        self._hold(own, row)
        counter = names.split_counter(name.filename)
        if counter is not None:
            key = (name.type, name.subfolder, counter.prefix)
            space.highest[key] = max(space.highest.get(key, 0), counter.number)

    def _note_copy(self, space: _Space, before: OutputRow | None, row: OutputRow) -> None:
        had = before.content_hash if before is not None else None
        if row.content_hash == had:
            return
        space.copies.pop(_public(row), None)
        if row.content_hash is not None:
            space.copies[_public(row)] = None
        self._stored.copy_changed(before, row)
        if had is not None and before is not None and before.generation != row.generation and not self.uses(had):
            self.on_written_over(had)

    def _hold(self, own: _RunnerFile, row: OutputRow) -> None:
        """Notes what a runner's file is now: of the newest content, every owner's row."""
        current = self._current.get(own)
        if current is not None and current.generation > row.generation:
            return
        if current is not None and current.generation < row.generation:
            self._shared.pop(own, None)
        elif current is not None and (own in self._shared or current.owner != row.owner):
            self._shared.setdefault(own, {current.owner: current})[row.owner] = row
        self._current[own] = row

    def _write_unwritten(self) -> None:
        if not self._unwritten:
            return
        written, self._unwritten = self._unwritten, set()
        write = self._db.write(*(upsert_output(self._spaces[owner].by_name[name]) for owner, name in written))
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


def _name(row: OutputRow) -> OutputName:
    return row.owner, _public(row)


def _own(row: OutputRow) -> _RunnerFile:
    return row.runner, OutputFile(row.runner_filename, row.runner_subfolder, row.type)
