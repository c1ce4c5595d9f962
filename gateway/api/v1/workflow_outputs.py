"""The outputs of workflows: their list, with a signed URL for each, and what such a URL gives."""

from __future__ import annotations

import uuid
from dataclasses import replace
from functools import partial
from uuid import UUID

from aiohttp import hdrs, web
from pydantic import Field
from yarl import URL

from gateway.access.addresses import called_host, is_secure
from gateway.api import contents
from gateway.api.openapi import Answer, Endpoint
from gateway.api.prefix import outward
from gateway.api.services import Services, services
from gateway.api.v1.endpoint import endpoint
from gateway.api.v1.errors import NOT_FOUND, ApiError, not_found
from gateway.api.v1.models import Request
from gateway.api.v1.workflow import NOT_THERE, visible
from gateway.api.v1.workflow_models import WorkflowOutput
from gateway.comfyui.outputs import OutputFile
from gateway.runners.errors import RunnerError
from gateway.storage.files import OutputRow
from gateway.storage.workflows import WorkflowSeen

PATTERN = "/v1/output/{workflow_id}/{output_id}/{filename}"
TAG_CHARACTERS = 32  # of the content's hash, in an ETag
CACHING = {str(hdrs.CACHE_CONTROL): "private, max-age=3600"}  # by whoever has the URL, not by what lies between
NEVER_KEPT = {str(hdrs.CACHE_CONTROL): "no-store"}


class Signature(Request):
    """The query of a signed URL."""

    signature: str = Field("", description="Good for this one file, until it expires.")


async def list_outputs(request: web.Request, workflow_id: UUID) -> list[WorkflowOutput]:
    """The files of a completed workflow.

    The URLs need no token, and expire (`workflows.url_seconds`). 404 while it is not completed, and where it has no
    files.
    """
    seen = await visible(request, workflow_id)
    files = await services(request).workflows.outputs(seen)
    if not files:
        raise not_found()
    return [
        WorkflowOutput(id=id_of(seen, file), workflow_id=workflow_id, src=_source(request, seen, file))
        for file in files
    ]


async def get_output(
    request: web.Request, workflow_id: UUID, output_id: UUID, filename: str, query: Signature
) -> web.StreamResponse:
    """A file by its signed URL; the whole of it or a range."""
    rooms = services(request)
    if not rooms.signer.is_good(_signed(workflow_id, output_id, filename), query.signature):
        raise ApiError(403, "the URL has expired, or is not one of this gateway's")
    seen = await rooms.workflows.see(str(workflow_id))
    files = await rooms.workflows.outputs(seen) if seen is not None else []
    file = next((file for file in files if seen is not None and id_of(seen, file) == output_id), None)
    if file is None or seen is None:
        raise _gone()
    row = await _kept(rooms, file, seen.row.owner)
    assert row.content_hash is not None
    content = contents.Content(
        f"{row.content_hash[:TAG_CHARACTERS]}-{row.size or 0:x}",
        row.size or 0,
        row.created_at,
        partial(rooms.blobs.read, row.content_hash),
    )
    return await contents.send(request, content, {**CACHING, **contents.file_headers(request, file.filename)})


def id_of(seen: WorkflowSeen, file: OutputFile) -> UUID:
    """The id of a workflow's output, the same for ever."""
    return uuid.uuid5(UUID(seen.row.id), "\n".join((file.type, file.subfolder, file.filename)))


async def _kept(rooms: Services, file: OutputFile, owner: str) -> OutputRow:
    """The output, once its content is in the blob store. Raises ApiError: 404; RunnerError, StorageError."""
    row = rooms.outputs.find(file.type, file.subfolder, file.filename, owner)
    if row is not None and row.content_hash is None:
        try:
            await rooms.archive.ensure(row)
        except RunnerError:
            if rooms.pool.get(row.runner) is None:
                raise _gone() from None
            raise
        row = rooms.outputs.find(file.type, file.subfolder, file.filename, owner)
    if row is None or row.content_hash is None or not await rooms.blobs.exists(row.content_hash):
        raise _gone()
    return row


def _gone() -> ApiError:
    """404 that nobody keeps: caches take a picture that is not found for one that will not be."""
    return ApiError(404, NOT_FOUND, NEVER_KEPT)


def _source(request: web.Request, seen: WorkflowSeen, file: OutputFile) -> str:
    workflow_id, output_id = UUID(seen.row.id), id_of(seen, file)
    path = PATTERN.format(workflow_id=workflow_id, output_id=output_id, filename=file.filename)
    signature = services(request).signer.sign(_signed(workflow_id, output_id, file.filename))
    origin = URL(f"{'https' if is_secure(request) else 'http'}://{called_host(request)}")
    return str(origin.with_path(outward(request, path)).with_query(signature=signature))


def _signed(workflow_id: UUID, output_id: UUID, filename: str) -> str:
    return f"{workflow_id}/{output_id}/{filename}"


def _gives_the_file(route: Endpoint) -> Endpoint:
    """What its handler's signature does not say."""
    told = {
        200: Answer("The file, in its own type.", bytes, media="*/*"),
        206: Answer("A part of it.", bytes, media="*/*"),
        304: Answer("It is as the caller has it."),
        412: Answer("It is not as the caller has it."),
        416: Answer("It has no such part."),
    }
    return replace(route, answers={**route.answers, **told})


ENDPOINTS = [
    endpoint(
        "GET",
        "/v1/workflow/{workflow_id}/outputs",
        list_outputs,
        tag="workflow",
        errors={404: "There is no such workflow, it is not completed, or it has made no files."},
    ),
    _gives_the_file(
        endpoint(
            "GET",
            PATTERN,
            get_output,
            tag="workflow",
            scope=None,
            errors={403: "The URL has expired, or was changed.", **NOT_THERE},
        )
    ),
]
