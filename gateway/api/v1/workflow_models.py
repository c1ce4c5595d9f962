"""What ``/v1/workflow`` reads and answers (ComfyControl, Workflows), and how it is made of what is stored."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gateway.api.services import services
from gateway.api.v1.models import Tag, View, at, at_or_none
from gateway.api.v1.pagination import Page
from gateway.api.v1.user import user_id
from gateway.comfyui import json_text
from gateway.jobs.states import JobState
from gateway.storage.workflows import GONE, WorkflowHead, WorkflowSeen
from gateway.workflows.statuses import ENDED, STATUS_OF, Status
from gateway.workflows.verdict import Refusal

JOB_STATES = frozenset(map(str, JobState))

WorkflowName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Tags = Annotated[list[Tag], Field(max_length=32)]
FORM_FIELDS = (
    "A text field `$<key>` for every `$text(<key>)`, a file field `$<name>` for every `$file(<name>)`, a text field "
    "`#<name>` for every `#choice(<name>)`."
)


class Workflow(View):
    """A workflow: one run of a graph, from its acceptance to its end."""

    id: UUID
    name: str
    status: Status
    tags: list[str]
    created_at: datetime
    updated_at: datetime = Field(description="Of its last step: created, submitted, started, ended.")
    started_at: datetime | None
    completed_at: datetime | None = Field(description="When it ended, in whichever way.")


class FullWorkflow(Workflow):
    """A workflow with what it runs, where, and what went wrong."""

    user_id: UUID
    user_runner_id: UUID | None = Field(description="The runner that has it, or had it last.")
    managed_runner_id: UUID | None = Field(description="Always null: every runner is the user's own.")
    workflow_json: dict[str, Any] = Field(description="As it was sent, with its placeholders.")
    workflow_params: list[tuple[str, str]] = Field(
        description="Placeholders with their values; of a file, the name under which it is kept."
    )
    prompt_id: str | None = Field(description="The id of its job in ComfyUI's own API; null before there is one.")
    queue_number: int | None = Field(description="Its place in the queue, from 1, while it is queued.")
    error_node: str | None
    exception_type: str | None
    exception_message: str | None
    node_errors: dict[str, Any] | None = Field(description="Why it is invalid, by node, in ComfyUI's words.")
    template_id: UUID | None
    template_version: int | None


class WorkflowList(View):
    """A page of workflows."""

    workflows: list[Workflow]
    total: int


class WorkflowOutput(View):
    """A file that a workflow has made."""

    id: UUID
    workflow_id: UUID
    src: str = Field(description="A URL that gives this file to whoever has it, until it expires.")


class WorkflowPage(Page):
    """The query of the list."""

    status: Status | None = Field(None, description="Only those of this status.")


class WorkflowFields(BaseModel):
    """The form of a new workflow, without the fields of its placeholders."""

    model_config = ConfigDict(hide_input_in_errors=True)

    name: WorkflowName
    tags: Tags = Field(default_factory=list)


class RerunFields(BaseModel):
    """The same of one that is run again: what is left out is as it was."""

    model_config = ConfigDict(hide_input_in_errors=True)

    name: WorkflowName | None = None
    tags: Tags | None = None


_TAGS = Field("", description="Separated by commas.", examples=["sdxl,portrait"])
WEBHOOK = Field(None, description="A URL that is told of this run, or a JSON object with `url` and `events`.")


class WorkflowForm(BaseModel):
    """The form of a new workflow, and a field for each placeholder of its graph."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"description": FORM_FIELDS})

    name: WorkflowName
    workflow_json: bytes = Field(description="A JSON file: a graph in ComfyUI's API format.")
    tags: str = _TAGS
    webhook: str | None = WEBHOOK


class RerunForm(BaseModel):
    """What is to be different this time."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"description": FORM_FIELDS})

    name: WorkflowName | None = None
    tags: str | None = None
    webhook: str | None = WEBHOOK


def compact(request: web.Request, head: WorkflowHead) -> Workflow:
    """A workflow as lists show it."""
    return Workflow(**_compact(request, head))


def created(request: web.Request, seen: WorkflowSeen) -> Workflow:
    """A workflow as its creator is told of it: accepted, however fast its submission may have begun."""
    return Workflow(**_compact(request, seen.head) | {"status": STATUS_OF[seen.standing]})


async def full(request: web.Request, seen: WorkflowSeen) -> FullWorkflow:
    """A workflow with everything."""
    rooms, row = services(request), seen.row
    runner = None if seen.runner is None else rooms.roster.id_of(seen.runner)
    return FullWorkflow(
        **_compact(request, seen.head),
        user_id=user_id(rooms.gateway_id, row.owner),
        user_runner_id=runner,
        managed_runner_id=None,
        workflow_json=json_text.loads(row.graph),
        workflow_params=json_text.loads(row.params),
        prompt_id=row.id if seen.standing in JOB_STATES else None,
        queue_number=rooms.workflows.place(seen),
        **_fault(seen),
        template_id=None if row.template_id is None else UUID(row.template_id),
        template_version=row.template_version,
    )


def _compact(request: web.Request, head: WorkflowHead) -> dict[str, Any]:
    status = services(request).workflows.status(head)
    steps = (head.created_at, head.answered_at, head.started_at, head.ended_at)
    ended_at = head.ended_at if head.standing in JOB_STATES else head.answered_at
    return {
        "id": UUID(head.id),
        "name": head.name,
        "status": status,
        "tags": json_text.loads(head.tags),
        "created_at": at(head.created_at),
        "updated_at": at(max(step for step in steps if step is not None)),
        "started_at": at_or_none(head.started_at),
        "completed_at": at_or_none(ended_at) if status in ENDED else None,
    }


def _fault(seen: WorkflowSeen) -> dict[str, Any]:
    """What went wrong: in the node of a failed job, or with the submission."""
    none: dict[str, Any] = dict.fromkeys(("error_node", "exception_type", "exception_message", "node_errors"))
    if seen.standing == JobState.FAILED and seen.summary is not None:
        error = json_text.loads(seen.summary).get("execution_error") or {}
        return none | {
            "error_node": _text(error.get("node_id")),
            "exception_type": _text(error.get("exception_type")),
            "exception_message": _text(error.get("exception_message")),
        }
    if seen.row.refusal is not None:
        refusal = Refusal.from_json(seen.row.refusal)
        return {
            "error_node": next(iter(refusal.node_errors), None),
            "exception_type": refusal.type,
            "exception_message": refusal.words,
            "node_errors": refusal.node_errors,
        }
    if seen.standing == GONE:
        return none | {"exception_type": "JobGone", "exception_message": "The gateway has its job no more."}
    return none


def _text(value: object) -> str | None:
    """A text of a runner's, as UTF-8 can say it."""
    return None if value is None else str(value).encode(errors="replace").decode()
