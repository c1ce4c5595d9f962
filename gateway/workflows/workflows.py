"""Workflows as the API sees them: creating, looking, cancelling, deleting, running again. How one becomes a job, step
by step and through crashes, is in `submitting`."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final, TypeVar

import structlog

from gateway.clock import Clock
from gateway.comfyui import json_text, outputs
from gateway.comfyui.outputs import OutputFile
from gateway.files.archive import Archive
from gateway.files.uploads import Uploads
from gateway.jobs.jobs import Jobs
from gateway.jobs.terms import NO_TERMS, Terms
from gateway.storage import jobs as job_rows
from gateway.storage import workflows as rows
from gateway.storage.database import Database, Operation
from gateway.storage.workflows import WorkflowHead, WorkflowRow, WorkflowSeen
from gateway.tasks import kept
from gateway.workflows.inputs import Inputs, NewFile
from gateway.workflows.placeholders import Field, Kind, Placeholder, asked_for, check_fields
from gateway.workflows.statuses import CANCELLABLE, STATUS_OF, Status, standings_of
from gateway.workflows.submitting import Submitter

SEED_BITS: Final = 63  # what the database's integers hold
SAVED: Final = "output"
KEPT_TYPES: Final = (SAVED, "temp")

ResultT = TypeVar("ResultT")

log = structlog.get_logger(__name__)


class WorkflowsFull(Exception):
    """As many jobs as may wait are waiting already, of everyone or of the owner."""


class Cancelled(Enum):
    """What became of a request to cancel."""

    DONE = auto()
    NOT_QUEUED_YET = auto()
    ENDED_ALREADY = auto()


@dataclass(frozen=True, slots=True)
class Given:
    """What a caller gives for placeholders, by form field (``$key``, ``#key``)."""

    texts: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, NewFile] = field(default_factory=dict)

    @property
    def fields(self) -> list[Field]:
        """All of them."""
        return [*map(Field, self.texts), *(Field(name, is_file=True) for name in self.files)]


@dataclass(frozen=True, slots=True)
class Draft:
    """A workflow that is to be created under an id (UUIDv4); ``graph`` is one that ``placeholders.graph_of`` takes.

    ``terms`` are those of its job, beside ``tags``. ``template`` is the id and the version that it is made from.
    """

    id: str
    owner: str
    name: str
    graph: Mapping[str, Any]
    tags: Sequence[str] = ()
    terms: Terms = NO_TERMS
    template: tuple[str, int] | None = None


class Workflows:
    """All owners' workflows. Methods raise StorageError where the database or the blob store cannot be used.

    Times are milliseconds since the epoch.
    """

    def __init__(self, db: Database, jobs: Jobs, uploads: Uploads, archive: Archive, clock: Clock) -> None:
        self._db = db
        self._jobs = jobs
        self._clock = clock
        self._inputs = Inputs(uploads, archive, self._is_named_by_a_job)
        self._submitter = Submitter(db, jobs, clock)
        self._seq = 0
        self._writing: set[asyncio.Task[Any]] = set()

    def tell_refusals(self, on_refused: Callable[[WorkflowRow, str, str], Sequence[Operation]]) -> None:
        """Has a function give what is to be written with the refusal of a workflow; see Submitter."""
        self._submitter.on_refused = on_refused

    async def start(self) -> None:
        """After the jobs room has: removes the files of workflows that never were, and submits what was accepted."""
        self._seq = await rows.highest_workflow_seq(self._db)
        for workflow_id, owner in self._inputs.owners_of_files():
            if not await rows.workflow_exists(self._db, workflow_id):
                await self._inputs.remove(workflow_id, owner)
        await self._submitter.start()

    async def close(self) -> None:
        """Submits no more; what is being written down is."""
        await asyncio.gather(*self._writing, return_exceptions=True)
        await self._submitter.close()

    # creating

    async def create(self, draft: Draft, given: Given) -> WorkflowSeen:
        """Stores a workflow with its files, durably; it is submitted from then on. One that has that id already is
        given back.

        Raises WorkflowRefused: the fields do not suit the graph. Raises WorkflowsFull.
        """
        return await self._run_again_or_new(draft, given, {}, draft.owner)

    async def rerun(self, seen: WorkflowSeen, draft: Draft, given: Given) -> WorkflowSeen:
        """The same graph once more as a workflow of its own, with other values where some are given: the others, files
        included, are those of the first one. Raises WorkflowRefused, WorkflowsFull."""
        return await self._run_again_or_new(draft, given, values_of(seen.row), seen.row.owner)

    async def _run_again_or_new(
        self, draft: Draft, given: Given, before: Mapping[str, str], owner_before: str
    ) -> WorkflowSeen:
        made = await self.see(draft.id)
        if made is not None:
            return made
        asked = asked_for(draft.graph)
        again = {each: before[each.literal] for each in asked if each.literal in before and not _is_in(each, given)}
        check_fields([each for each in asked if each not in again], given.fields)
        full = self._submitter.full(draft.owner)
        if full is not None:
            raise WorkflowsFull(full)
        # Its caller may go away, but what is half done would stay: it is done, or undone.
        return await self._to_the_end(self._create(draft, asked, given, again, owner_before))

    async def _create(
        self,
        draft: Draft,
        asked: Sequence[Placeholder],
        given: Given,
        again: Mapping[Placeholder, str],
        owner_before: str,
    ) -> WorkflowSeen:
        try:
            params = [(each.literal, await self._value(draft, each, given, again, owner_before)) for each in asked]
            row = self._row(draft, params)
            await self._db.write(rows.insert_workflow(row))
        except BaseException:
            await self._inputs.remove(draft.id, draft.owner)
            raise
        log.info("workflow.accepted", workflow=row.id, owner=row.owner or None, template=row.template_id)
        self._submitter.put(row.id, row.owner)
        return WorkflowSeen(row, rows.UNSUBMITTED, None, None, None, None)

    async def _value(
        self,
        draft: Draft,
        placeholder: Placeholder,
        given: Given,
        again: Mapping[Placeholder, str],
        owner_before: str,
    ) -> str:
        if placeholder.kind is not Kind.FILE:
            return again[placeholder] if placeholder in again else given.texts[placeholder.field]
        key = placeholder.key
        if placeholder not in again:
            return await self._inputs.keep(draft.id, draft.owner, key, given.files[placeholder.field])
        return await self._inputs.keep_again(draft.id, draft.owner, key, again[placeholder], owner_before)

    def _row(self, draft: Draft, params: Sequence[tuple[str, str]]) -> WorkflowRow:
        self._seq += 1
        template_id, version = draft.template or (None, None)
        return WorkflowRow(
            id=draft.id,
            seq=self._seq,
            owner=draft.owner,
            name=draft.name,
            tags=_json(list(draft.tags)),
            terms=_json(draft.terms.as_json()),
            seed=secrets.randbits(SEED_BITS),
            created_at=self._clock.wall_ms(),
            params=_json(params),
            graph=_json(draft.graph),
            template_id=template_id,
            template_version=version,
        )

    # looking

    async def see(self, workflow_id: str) -> WorkflowSeen | None:
        """A workflow as it stands now, whoever's it is."""
        await self._db.flushed()  # of its job, memory may know more than the database
        return await rows.see_workflow(self._db, workflow_id)

    async def listed(
        self, *, owner: str | None, statuses: Collection[Status] | None, offset: int, limit: int
    ) -> tuple[list[WorkflowHead], int]:
        """A page of an owner's workflows, or with None of everyone's, newest first; and how many there are in all."""
        await self._db.flushed()
        standings = None if statuses is None else standings_of(statuses)
        return await rows.list_workflows(self._db, owner=owner, standings=standings, offset=offset, limit=limit)

    async def recent_on_runner(self, runner: str, *, owner: str | None, limit: int) -> list[WorkflowHead]:
        """The newest workflows that a runner has, or had last: of an owner, or with None of everyone's."""
        await self._db.flushed()
        return await rows.recent_on_runner(self._db, runner, owner=owner, limit=limit)

    def status(self, head: WorkflowHead) -> Status:
        """What its standing is called."""
        if head.standing == rows.UNSUBMITTED and self._submitter.is_under_way(head.id):
            return Status.UPLOADED
        return STATUS_OF[head.standing]

    def place(self, seen: WorkflowSeen) -> int | None:
        """Its place in the queue, from 1; None unless it is queued."""
        return self._jobs.place(seen.row.id)

    async def outputs(self, seen: WorkflowSeen) -> list[OutputFile]:
        """The files that a completed workflow has made, by their public names; empty for any other.

        Temporary ones, such as previews, count only where nothing was saved.
        """
        job = await job_rows.load_job(self._db, seen.row.id) if STATUS_OF[seen.standing] is Status.COMPLETED else None
        if job is None or job.entry is None:
            return []
        made = dict.fromkeys(
            file for file in outputs.files(json_text.loads(job.entry)["outputs"]) if file.type in KEPT_TYPES
        )
        return [file for file in made if file.type == SAVED] or list(made)

    async def files_of(self, workflow_id: str) -> tuple[str, list[OutputFile]]:
        """A workflow's owner and its ``outputs``; none of what is no workflow. Asked for every job that completes:
        where there never was a workflow, that costs no look into the database."""
        seen = await self.see(workflow_id) if self._seq else None
        return ("", []) if seen is None else (seen.row.owner, await self.outputs(seen))

    # changing

    async def cancel(self, seen: WorkflowSeen) -> Cancelled:
        """Has a queued or running workflow cancelled; one that ends by itself meanwhile stays as it ended.

        The wish is stored before this returns, and carried out as soon as its runner can be reached.
        """
        status = self.status(seen.head)
        if status not in CANCELLABLE:
            is_early = status in (Status.ACCEPTED, Status.UPLOADED)
            return Cancelled.NOT_QUEUED_YET if is_early else Cancelled.ENDED_ALREADY
        job = self._jobs.registry.get(seen.row.id)
        if job is not None:
            await self._jobs.control.cancel(job)
        return Cancelled.DONE

    async def delete(self, seen: WorkflowSeen) -> None:
        """Removes a workflow, its history and its files; one that has not ended is cancelled first. The files that it
        has made stay where the gateway's archive has them, until that drops them."""
        await self._to_the_end(self._delete(seen.row.id, seen.row.owner))

    async def _delete(self, workflow_id: str, owner: str) -> None:
        async with self._submitter.held_off(workflow_id):
            job = self._jobs.registry.get(workflow_id)
            if job is not None:
                await self._jobs.control.cancel(job)
            await self._db.write(rows.delete_workflow(workflow_id))
        log.info("workflow.deleted", workflow=workflow_id, owner=owner or None)
        await self._jobs.history.delete([workflow_id], owner)
        await self._inputs.remove(workflow_id, owner)

    def _is_named_by_a_job(self, path: str, workflow_id: str) -> bool:
        """Whether a job that has not ended, and is not this workflow's, has that path in its graph."""
        needle = json_text.dumps(path).encode()
        return any(needle in job.content.prompt_json for job in self._jobs.registry if job.id != workflow_id)

    async def _to_the_end(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        return await asyncio.shield(kept(work, self._writing))


def values_of(row: WorkflowRow) -> dict[str, str]:
    """What was given for its placeholders, by their literals, in the graph's order; of files, the input's value."""
    return dict(json_text.loads(row.params))


def _is_in(placeholder: Placeholder, given: Given) -> bool:
    """Whether a value of either kind is given for it; one of the wrong kind is to be told as such."""
    return placeholder.field in given.texts or placeholder.field in given.files


def _json(value: Any) -> bytes:
    return json_text.dumps(value).encode()
