"""``/v1/workflow``: creating, listing, looking, cancelling, deleting, running again. Their outputs are in `outputs`."""

from __future__ import annotations

from uuid import UUID

from aiohttp import web

from gateway.access.callers import caller_of
from gateway.api.idempotency import new_id
from gateway.api.services import services
from gateway.api.v1.endpoint import endpoint
from gateway.api.v1.errors import bad_request, not_found
from gateway.api.v1.forms import Form
from gateway.api.v1.workflow_forms import fields_of, given_in, graph_in, refusals, terms_in
from gateway.api.v1.workflow_models import (
    FullWorkflow,
    RerunFields,
    RerunForm,
    Workflow,
    WorkflowFields,
    WorkflowForm,
    WorkflowList,
    WorkflowPage,
    compact,
    created,
    full,
)
from gateway.comfyui import json_text
from gateway.storage.workflows import WorkflowSeen
from gateway.workflows.workflows import Cancelled, Draft

NOT_THERE = {404: "There is no such workflow, or it is another user's."}
MAKING = {
    400: "A field is missing, unknown or too long, or the workflow is no graph in API format.",
    403: "The token may not do this.",
    413: "The request is larger than 50 MB.",
    507: "The user's files have as many bytes as they may.",
}
NOT_CANCELLED = {
    Cancelled.NOT_QUEUED_YET: "the workflow is not queued yet",
    Cancelled.ENDED_ALREADY: "the workflow has ended already",
}


async def create_workflow(request: web.Request, form: Form) -> Workflow:
    """Runs a graph.

    It is stored before this answers, and from then on it is submitted, run and told of, whatever restarts meanwhile.
    """
    caller = caller_of(request)
    fields = fields_of(form, WorkflowFields)
    with refusals():
        graph = await graph_in(form, "workflow_json")
        terms = await terms_in(request, form)
        draft = Draft(str(new_id(request)), caller.owner, fields.name, graph, tags=fields.tags, terms=terms)
        given = given_in(form, but={"name", "tags", "workflow_json"})
        seen = await services(request).workflows.create(draft, given)
    return created(request, seen)


async def list_workflows(request: web.Request, query: WorkflowPage) -> WorkflowList:
    """The caller's workflows, newest first."""
    statuses = None if query.status is None else {query.status}
    heads, total = await services(request).workflows.listed(
        owner=caller_of(request).owner, statuses=statuses, offset=query.offset, limit=query.per_page
    )
    return WorkflowList(workflows=[compact(request, head) for head in heads], total=total)


async def get_workflow(request: web.Request, workflow_id: UUID) -> FullWorkflow:
    """One workflow, with its graph, its place in the queue, and what went wrong."""
    return await full(request, await visible(request, workflow_id))


async def cancel_workflow(request: web.Request, workflow_id: UUID) -> None:
    """Cancels a queued or running workflow.

    It is promised when this answers, and kept as soon as its runner can be reached; one that ends by itself before that
    stays as it ended.
    """
    seen = await visible(request, workflow_id)
    became = await services(request).workflows.cancel(seen)
    if became in NOT_CANCELLED:
        raise bad_request(NOT_CANCELLED[became])


async def delete_workflow(request: web.Request, workflow_id: UUID) -> None:
    """Removes a workflow, its history and the files that were sent with it.

    One that has not ended is cancelled first.
    """
    await services(request).workflows.delete(await visible(request, workflow_id))


async def rerun_workflow(request: web.Request, workflow_id: UUID, form: Form) -> Workflow:
    """Runs the same graph again, as a new workflow.

    What the form leaves out (name, tags, values, files) is as it was; random numbers and the time are new.
    """
    caller = caller_of(request)
    fields = fields_of(form, RerunFields)
    seen = await visible(request, workflow_id)
    row = seen.row
    template = (
        None if row.template_id is None or row.template_version is None else (row.template_id, row.template_version)
    )
    with refusals():
        draft = Draft(
            str(new_id(request)),
            caller.owner,
            fields.name or row.name,
            json_text.loads(row.graph),
            tags=json_text.loads(row.tags) if fields.tags is None else fields.tags,
            terms=await terms_in(request, form),
            template=template,
        )
        made = await services(request).workflows.rerun(seen, draft, given_in(form, but={"name", "tags"}))
    return created(request, made)


async def visible(request: web.Request, workflow_id: UUID) -> WorkflowSeen:
    """A workflow that the caller may see. Raises ApiError: 404."""
    seen = await services(request).workflows.see(str(workflow_id))
    if seen is None or not caller_of(request).sees(seen.row.owner):
        raise not_found()
    return seen


ENDPOINTS = [
    endpoint(
        "POST",
        "/v1/workflow",
        create_workflow,
        tag="workflow",
        status=201,
        errors=MAKING,
        form_model=WorkflowForm,
        creates=True,
    ),
    endpoint("GET", "/v1/workflow", list_workflows, tag="workflow"),
    endpoint("GET", "/v1/workflow/{workflow_id}", get_workflow, tag="workflow", errors=NOT_THERE),
    endpoint(
        "POST",
        "/v1/workflow/{workflow_id}/cancel",
        cancel_workflow,
        tag="workflow",
        errors=NOT_THERE | {400: "It has ended already, or is not queued yet."},
    ),
    endpoint(
        "POST",
        "/v1/workflow/{workflow_id}/rerun",
        rerun_workflow,
        tag="workflow",
        status=201,
        errors=NOT_THERE | MAKING,
        form_model=RerunForm,
        creates=True,
    ),
    endpoint("DELETE", "/v1/workflow/{workflow_id}", delete_workflow, tag="workflow", errors=NOT_THERE),
]
