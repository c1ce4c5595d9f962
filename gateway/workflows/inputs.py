"""The files of workflows: uploads of their owner, in a folder of the workflow's own, so that no name meets another.

They go with the workflow. A file that another job still names stays, as an upload like any other; a content goes when
no file has it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from gateway.comfyui import names
from gateway.files.archive import Archive
from gateway.files.uploads import Uploads
from gateway.storage.files import UploadRow
from gateway.workflows.placeholders import WorkflowRefused

FOLDER: Final = "workflows"  # among an owner's inputs
KEY_CHARACTERS: Final = 100  # of a placeholder's name, in a file's
_ENDING: Final = re.compile(r"\.[A-Za-z0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that came with a form: the name that its sender has for it, and its bytes."""

    filename: str
    chunks: Callable[[], AsyncIterator[bytes]]


class Inputs:
    """Keeps and removes the files of workflows.

    ``named_elsewhere(path, workflow_id)`` says whether a job of something else still names a file.
    """

    def __init__(self, uploads: Uploads, archive: Archive, named_elsewhere: Callable[[str, str], bool]) -> None:
        self._uploads = uploads
        self._archive = archive
        self._named_elsewhere = named_elsewhere

    async def keep(self, workflow_id: str, owner: str, key: str, file: NewFile) -> str:
        """Stores a file, and returns the value of the input that names it. Raises StorageError."""
        name = file_name(key, file.filename)
        row = await self._uploads.save(file.chunks(), filename=name, subfolder=_folder(workflow_id), owner=owner)
        return _path(row)

    async def keep_again(self, workflow_id: str, owner: str, key: str, path: str, owner_before: str) -> str:
        """The same for a file of an earlier workflow, of whoever's that was, without copying its bytes.

        Raises WorkflowRefused: it is not there any more. Raises StorageError.
        """
        subfolder, _, filename = path.rpartition("/")
        row = self._uploads.find("input", subfolder, filename, owner_before)
        if row is None:
            raise WorkflowRefused(f"missing file field ${key}: the file of the earlier workflow is not there any more")
        return _path(await self._uploads.name_again(row, subfolder=_folder(workflow_id), owner=owner))

    async def remove(self, workflow_id: str, owner: str) -> None:
        """Removes the files of a workflow that is gone. Raises StorageError."""
        folder = _folder(workflow_id)
        for row in self._uploads.rows("input", owner):
            if row.subfolder == folder and not self._named_elsewhere(_path(row), workflow_id):
                await self._archive.remove_upload(row)

    def owners_of_files(self) -> set[tuple[str, str]]:
        """The workflows that have files, as (id, owner)."""
        return {
            (row.subfolder.removeprefix(f"{FOLDER}/"), owner)
            for owner in self._uploads.owners()
            for row in self._uploads.rows("input", owner)
            if row.subfolder.startswith(f"{FOLDER}/")
        }


def file_name(key: str, filename: str) -> str:
    """What a file is called: after its placeholder, with the ending of its sender's name, which says what it is."""
    ending = posixpath.splitext(filename.replace("\\", "/").rpartition("/")[2])[1]
    if not _ENDING.fullmatch(ending):
        ending = ""
    return key[:KEY_CHARACTERS] if ending and key.endswith(ending) else key[:KEY_CHARACTERS] + ending


def _folder(workflow_id: str) -> str:
    return f"{FOLDER}/{workflow_id}"


def _path(row: UploadRow) -> str:
    return names.format_annotated(names.AnnotatedName(row.filename, row.subfolder, "input"))
