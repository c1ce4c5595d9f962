"""Rows of runners' output files under their public names, and of clients' uploads. Which name a file gets is decided
in `gateway.files`."""

from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Table, bindparam, delete, select
from sqlalchemy.dialects.sqlite import Insert, insert

from gateway.storage.database import Database
from gateway.storage.schema import files, uploads
from gateway.storage.writer import Operation, values_of


@dataclass(slots=True)
class OutputRow:
    """A file that a job made. The first three fields are its public name, which with `owner` is the key; times are
    milliseconds."""

    type: str
    subfolder: str
    filename: str
    runner: str
    runner_subfolder: str
    runner_filename: str  # of the same type
    job_id: str
    created_at: int
    generation: int = 1  # counts the contents that this runner has had under its own name of the file
    unclaimed: bool = False  # `job_id` had the node cached: the job that wrote the file has not been heard of
    lost: bool = False  # the runner's file has another content by now: only the archived one is right
    content_hash: str | None = None  # of the archived content
    size: int | None = None
    owner: str = ""  # of the job; each owner has an address space of its own


@dataclass(slots=True)
class UploadRow:
    """A file that a client uploaded. The first four fields are the key; times are milliseconds."""

    owner: str
    type: str
    subfolder: str
    filename: str
    content_hash: str
    size: int
    created_at: int
    modified_at: int


_OUTPUT_COLUMNS = [files.c[field.name] for field in fields(OutputRow)]
_UPLOAD_COLUMNS = [uploads.c[field.name] for field in fields(UploadRow)]


def _upsert(table: Table) -> Insert:
    statement = insert(table)
    others = {column.name: statement.excluded[column.name] for column in table.c if not column.primary_key}
    return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=others)


_upsert_output = _upsert(files)
_upsert_upload = _upsert(uploads)
_delete_upload = delete(uploads).where(*(column == bindparam(f"of_{column.name}") for column in uploads.primary_key))


def upsert_output(row: OutputRow) -> Operation:
    """Add an output, or replace the row of its public name."""
    return Operation(_upsert_output, values_of(row))


async def load_outputs(db: Database) -> list[OutputRow]:
    """All outputs, the oldest first."""
    query = select(*_OUTPUT_COLUMNS).order_by(files.c.created_at, files.c.generation)
    return [_output(row) for row in await db.read(query)]


def upsert_upload(row: UploadRow) -> Operation:
    """Add an upload, or replace the one with its name."""
    return Operation(_upsert_upload, values_of(row))


def delete_upload(owner: str, type: str, subfolder: str, filename: str) -> Operation:  # noqa: A002
    """Forget an upload."""
    key = {"of_owner": owner, "of_type": type, "of_subfolder": subfolder, "of_filename": filename}
    return Operation(_delete_upload, key)


async def load_uploads(db: Database, type: str | None = None, owner: str | None = None) -> list[UploadRow]:  # noqa: A002
    """Uploads by name: of one type or all, of one owner or everyone's."""
    query = select(*_UPLOAD_COLUMNS).order_by(*uploads.primary_key)
    if type is not None:
        query = query.where(uploads.c.type == type)
    if owner is not None:
        query = query.where(uploads.c.owner == owner)
    return [_upload(row) for row in await db.read(query)]


def _output(row: Any) -> OutputRow:
    return OutputRow(*row)


def _upload(row: Any) -> UploadRow:
    return UploadRow(*row)
