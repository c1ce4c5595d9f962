"""Bringing a prompt's input files to the runner that will run it, before it is posted there.

Uploads go under their own name where that is safe: a name that holds another content in this life of the runner may be
what a job waiting there will read, and a name of one owner must not be readable by another. Then, as for outputs of
other runners, the copy's name has the content's hash in it and the prompt is rewritten. What the gateway doesn't know
is left to the runner; but who has a token gets no output and no temporary file of a runner that is not its own.
"""

import asyncio
import posixpath
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from gateway.comfyui import graph, names
from gateway.comfyui.graph import FileReference
from gateway.comfyui.names import AnnotatedName
from gateway.comfyui.outputs import OutputFile
from gateway.files.named import written_last
from gateway.files.outputs import OutputNames
from gateway.files.uploads import Uploads
from gateway.runners.errors import RunnerError
from gateway.storage.blobs import BlobStore
from gateway.storage.errors import StorageError
from gateway.storage.files import OutputRow, UploadRow
from gateway.tasks import kept

GATEWAY_FOLDER: Final = "gateway"  # in a runner's input folder: copies under names made of their hash
UNAVAILABLE_FOLDER: Final = "gateway/unavailable"  # never exists: a reference to it gets the runner's own error
_LONGEST_STEM: Final = 40  # characters kept of a name when a hash is added to it


class StagingError(Exception):
    """A file could not be brought to a runner: with `runner_failed` by that runner's fault, else by its source's."""

    def __init__(self, file: str, runner: str, reason: str, *, runner_failed: bool) -> None:
        super().__init__(f"{file} could not be brought to runner {runner}: {reason}")
        self.file = file
        self.runner = runner
        self.runner_failed = runner_failed


class Reply(Protocol):
    """A runner's answer."""

    @property
    def status(self) -> int:
        """HTTP status."""


class UploadTarget(Protocol):
    """What is needed of a runner: its name, and its upload route. Failures are RunnerErrors."""

    @property
    def name(self) -> str:
        """The runner's name."""

    async def upload(
        self,
        file: bytes | AsyncIterator[bytes],
        *,
        filename: str,
        subfolder: str,
        type: str,  # noqa: A002  ComfyUI's name of the field
        overwrite: bool = True,
    ) -> Reply:
        """Put a file into one of the runner's folders."""


ContentOf = Callable[[OutputRow], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class StagedPrompt:
    """What to post, and the client's own values of the inputs that differ in it: `{(node id, input): value}`."""

    prompt: Any
    replaced: Mapping[tuple[str, str], Any]


@dataclass(slots=True)
class _Life:
    """One life of a runner: what has been brought to it since it started, by place."""

    boot: str
    copies: dict[AnnotatedName, tuple[str, asyncio.Task[None]]] = field(default_factory=dict)  # content hash, upload


class Staging:
    """Brings files to runners; each content once per place and life of a runner, also for jobs at the same time.

    `content_of` copies an output into the blob store and gives its hash (RunnerError, StorageError if it can't).
    """

    def __init__(
        self,
        uploads: Uploads,
        outputs: OutputNames,
        blobs: BlobStore,
        *,
        content_of: ContentOf,
    ) -> None:
        self._uploads = uploads
        self._outputs = outputs
        self._blobs = blobs
        self._content_of = content_of
        self._lives: dict[str, _Life] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def stage(self, prompt: Any, runner: UploadTarget, boot: str, owner: str) -> StagedPrompt:
        """Bring what the prompt names to the runner and return the prompt to post.

        `boot` identifies the runner's current life: with another one everything is brought again. Raises StagingError.
        """
        life = self._life(runner.name, boot)
        found = [
            (reference, source)
            for reference in graph.file_references(prompt)
            if (source := self._source(reference.file, runner.name, owner)) is not None
        ]
        if not found:
            return StagedPrompt(prompt, {})
        places = await asyncio.gather(
            *(self._bring(source, runner, life) for _, source in found), return_exceptions=True
        )
        moved: list[tuple[FileReference, str]] = []
        for (reference, _), place in zip(found, places, strict=True):
            if isinstance(place, BaseException):
                raise place
            if place != reference.file:
                moved.append((reference, names.format_annotated(place)))
        keys = [(reference.node_id, reference.name) for reference, _ in moved]
        replaced = {(node, name): prompt[node]["inputs"][name] for node, name in keys}
        return StagedPrompt(graph.replace_references(prompt, moved), replaced)

    async def bring(self, upload: UploadRow, runner: UploadTarget, boot: str) -> AnnotatedName:
        """Bring one upload to the runner and return its place there. Raises StagingError."""
        return await self._bring(upload, runner, self._life(runner.name, boot))

    async def close(self) -> None:
        """End the transfers under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _life(self, runner: str, boot: str) -> _Life:
        life = self._lives.get(runner)
        if life is None or life.boot != boot:
            life = self._lives[runner] = _Life(boot)
        return life

    def _source(self, file: AnnotatedName, runner: str, owner: str) -> UploadRow | OutputRow | AnnotatedName | None:
        """What the reference means: an upload, an output, a place on the runner, or None for "let the runner see"."""
        upload = self._uploads.find(file.type, file.subfolder, file.filename, owner)
        unavailable = AnnotatedName(file.filename, UNAVAILABLE_FOLDER, "input")
        if file.type == "input":
            return unavailable if upload is None and self._lies_open(file, owner) else upload
        output = self._outputs.find(file.type, file.subfolder, file.filename, owner)
        if output is not None or upload is not None:
            return written_last(output, upload)
        own_name = OutputFile(file.filename, file.subfolder, file.type)
        known_otherwise = self._outputs.of_runner(runner, own_name) is not None
        if owner or known_otherwise or self._outputs.is_taken(file.type, file.subfolder, file.filename):
            return unavailable  # what the runner has under this name is another file, or another owner's
        return None

    def _lies_open(self, file: AnnotatedName, owner: str) -> bool:
        """Whether runners may have an upload of another owner under that very name: one from the time before tokens,
        and no mere text that is the same."""
        is_a_name = bool(posixpath.splitext(file.filename)[1])
        return bool(owner) and is_a_name and self._uploads.is_taken(file.type, file.subfolder, file.filename)

    async def _bring(
        self, source: UploadRow | OutputRow | AnnotatedName, runner: UploadTarget, life: _Life
    ) -> AnnotatedName:
        """Where on the runner the file is, once it is there."""
        if isinstance(source, AnnotatedName):
            return source
        if isinstance(source, UploadRow):
            place, content = _place_of_upload(source, life), source.content_hash
        elif source.runner == runner.name and not source.lost and names.is_file_type(source.type):
            return AnnotatedName(source.runner_filename, source.runner_subfolder, source.type)
        else:
            content = source.content_hash or await self._content(source, runner.name)
            place = _place_of_content(content, source.filename)
        await self._copied(place, content, runner, life)
        return place

    async def _copied(self, place: AnnotatedName, content: str, runner: UploadTarget, life: _Life) -> None:
        copy = life.copies.get(place)
        if copy is not None and copy[0] == content:
            task = copy[1]
        else:
            task = self._start(self._copy(place, content, runner))
            life.copies[place] = (content, task)
            task.add_done_callback(lambda task: _forget_if_failed(life, place, task))
        await asyncio.shield(task)

    async def _copy(self, place: AnnotatedName, content: str, runner: UploadTarget) -> None:
        file = names.format_annotated(place)
        try:
            chunks = await self._blobs.read(content)
        except StorageError as error:
            raise StagingError(file, runner.name, str(error), runner_failed=False) from error
        try:
            reply = await runner.upload(
                chunks, filename=place.filename, subfolder=place.subfolder, type=place.type, overwrite=True
            )
        except RunnerError as error:
            raise StagingError(file, runner.name, str(error), runner_failed=True) from error
        if reply.status != 200:
            raise StagingError(file, runner.name, f"it answered {reply.status}", runner_failed=True)

    async def _content(self, output: OutputRow, runner: str) -> str:
        """The content hash of another runner's output, once it is in the blob store."""
        try:
            return await self._content_of(output)
        except (RunnerError, StorageError) as error:
            file = f"{posixpath.join(output.subfolder, output.filename)} [{output.type}]"
            raise StagingError(file, runner, f"{error} (its source)", runner_failed=False) from error

    def _start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A transfer that several jobs may wait for; it goes on when one of them is cancelled."""
        return kept(work, self._tasks)


def _place_of_upload(upload: UploadRow, life: _Life) -> AnnotatedName:
    """An upload's own name, or one with its hash where its own isn't safe to use."""
    if not names.is_file_type(upload.type) or upload.type == "output":  # there the runner counts its own files
        return _place_of_content(upload.content_hash, upload.filename)
    own = AnnotatedName(upload.filename, upload.subfolder, upload.type)
    copy = life.copies.get(own)
    if upload.owner == "" and (copy is None or copy[0] == upload.content_hash):
        return own
    stem, extension = posixpath.splitext(upload.filename)
    filename = f"{stem[:_LONGEST_STEM]}.{upload.content_hash[:32]}{extension}"
    return AnnotatedName(filename, upload.subfolder, upload.type)


def _place_of_content(content: str, filename: str) -> AnnotatedName:
    return AnnotatedName(content[:32] + posixpath.splitext(filename)[1], GATEWAY_FOLDER, "input")


def _forget_if_failed(life: _Life, place: AnnotatedName, task: asyncio.Task[None]) -> None:
    failed = task.cancelled() or task.exception() is not None
    if failed and life.copies.get(place, ("", None))[1] is task:
        del life.copies[place]
