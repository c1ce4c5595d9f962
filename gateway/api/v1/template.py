"""``/v1/template``: graphs that are kept to be run, in all their versions (ComfyControl, Templates)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gateway.access.callers import caller_of
from gateway.api.idempotency import new_id
from gateway.api.services import services
from gateway.api.v1.endpoint import endpoint
from gateway.api.v1.errors import not_found
from gateway.api.v1.forms import Form
from gateway.api.v1.models import Request, View, at
from gateway.api.v1.pagination import Page
from gateway.api.v1.user import user_id
from gateway.api.v1.workflow import MAKING
from gateway.api.v1.workflow_forms import fields_of, given_in, graph_in, refusals, terms_in
from gateway.api.v1.workflow_models import FORM_FIELDS, WEBHOOK, Tags, Workflow, WorkflowName, created
from gateway.storage.templates import TemplateRow
from gateway.workflows.placeholders import placeholders
from gateway.workflows.templates import Changes, body_of
from gateway.workflows.workflows import Draft

NOT_THERE = {404: "There is no such template, or it is another user's."}
BODY = "body"

TemplateName = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Description = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Version = Annotated[int, Field(ge=1, le=2_147_483_647)]


class TemplateHead(View):
    """A template as lists show it."""

    id: UUID
    user_id: UUID
    name: str
    description: str
    version: int = Field(description="From 1; every update makes the next one.")
    created_at: datetime
    updated_at: datetime = Field(description="When this version was made.")


class Template(TemplateHead):
    """A template at one of its versions."""

    body: dict[str, Any] = Field(description="The graph, with its placeholders.")


class TemplateList(View):
    """A page of templates."""

    templates: list[TemplateHead]
    total: int


class AtVersion(BaseModel):
    """Which version is meant."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    version: Version | None = Field(None, description="One of its versions; else the newest.")


class TemplateFields(Request):
    """The text fields of a new template."""

    name: TemplateName
    description: Description


class UpdateFields(Request):
    """The same of one that is changed."""

    name: TemplateName | None = None
    description: Description | None = None


class RunFields(AtVersion):
    """The text fields of a run, without those of its placeholders."""

    name: WorkflowName | None = None
    tags: Tags = Field(default_factory=list)


class TemplateForm(TemplateFields):
    """The form of a new template."""

    body: bytes = Field(description="A JSON file: a graph in ComfyUI's API format.")


class UpdateForm(UpdateFields):
    """What is to be changed."""

    body: bytes | None = Field(None, description="A JSON file: a graph in ComfyUI's API format.")


class RunForm(AtVersion):
    """A run: the workflow's name (else the template's) and tags, and a field for each placeholder."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"description": FORM_FIELDS})

    name: WorkflowName | None = None
    tags: str = Field("", description="Separated by commas.")
    webhook: str | None = WEBHOOK


async def create_template(request: web.Request, form: Form) -> Template:
    """Keeps a graph under a name."""
    fields = fields_of(form, TemplateFields)
    owner = caller_of(request).owner
    with refusals():
        body = await _body_in(form)
        row = await services(request).templates.create(
            str(new_id(request)), owner, fields.name, fields.description, body
        )
    return _template(request, row)


async def list_templates(request: web.Request, query: Page) -> TemplateList:
    """The caller's templates, newest first, without their bodies."""
    rows, total = await services(request).templates.listed(
        owner=caller_of(request).owner, offset=query.offset, limit=query.per_page
    )
    return TemplateList(templates=[_head(request, row) for row in rows], total=total)


async def get_template(request: web.Request, template_id: UUID, query: AtVersion) -> Template:
    """One template, as it is now or at a version."""
    return _template(request, await _visible(request, template_id, query.version))


async def list_versions(request: web.Request, template_id: UUID) -> list[TemplateHead]:
    """All versions of a template, newest first, without their bodies."""
    await _visible(request, template_id)
    return [_head(request, row) for row in await services(request).templates.versions(str(template_id))]


async def update_template(request: web.Request, template_id: UUID, form: Form) -> Template:
    """Changes a template: a new version, after which the earlier ones can still be fetched and run.

    What the form leaves out stays as it is; an update that changes nothing makes no version.
    """
    fields = fields_of(form, UpdateFields)
    await _visible(request, template_id)
    with refusals():
        body = await _body_in(form) if BODY in form.names else None
    changed = await services(request).templates.update(str(template_id), Changes(fields.name, fields.description, body))
    if changed is None:
        raise not_found()
    return _template(request, changed)


async def delete_template(request: web.Request, template_id: UUID) -> None:
    """Removes a template with all of its versions; workflows that were made from it stay."""
    await _visible(request, template_id)
    await services(request).templates.delete(str(template_id))


async def run_template(request: web.Request, template_id: UUID, form: Form) -> Workflow:
    """Makes a workflow from a template, and runs it."""
    caller = caller_of(request)
    fields = fields_of(form, RunFields)
    row = await _visible(request, template_id, fields.version)
    draft = Draft(
        str(new_id(request)),
        caller.owner,
        fields.name or row.name,
        body_of(row),
        tags=fields.tags,
        terms=await terms_in(request, form),
        template=(row.id, row.version),
    )
    with refusals():
        seen = await services(request).workflows.create(draft, given_in(form, but={"name", "tags", "version"}))
    return created(request, seen)


async def _visible(request: web.Request, template_id: UUID, version: int | None = None) -> TemplateRow:
    """A template that the caller may see, at a version. Raises ApiError: 404."""
    row = await services(request).templates.get(str(template_id), version)
    if row is None or not caller_of(request).sees(row.owner):
        raise not_found()
    return row


async def _body_in(form: Form) -> dict[str, Any]:
    """The body, whose placeholders are as they must be. Raises ApiError, WorkflowRefused."""
    body = await graph_in(form, BODY)
    placeholders(body)
    return body


def _template(request: web.Request, row: TemplateRow) -> Template:
    return Template(**_parts(request, row), body=body_of(row))


def _head(request: web.Request, row: TemplateRow) -> TemplateHead:
    return TemplateHead(**_parts(request, row))


def _parts(request: web.Request, row: TemplateRow) -> dict[str, Any]:
    return {
        "id": UUID(row.id),
        "user_id": user_id(services(request).gateway_id, row.owner),
        "name": row.name,
        "description": row.description,
        "version": row.version,
        "created_at": at(row.created_at),
        "updated_at": at(row.updated_at),
    }


OF_BODY = {400: "A field is missing or too long, or the body is no graph in API format.", 413: MAKING[413]}

ENDPOINTS = [
    endpoint(
        "POST",
        "/v1/template",
        create_template,
        tag="template",
        status=201,
        errors=OF_BODY | {403: "The user has as many templates as one may have."},
        form_model=TemplateForm,
        creates=True,
    ),
    endpoint("GET", "/v1/template", list_templates, tag="template"),
    endpoint("GET", "/v1/template/{template_id}", get_template, tag="template", errors=NOT_THERE),
    endpoint("GET", "/v1/template/{template_id}/versions", list_versions, tag="template", errors=NOT_THERE),
    endpoint(
        "PUT",
        "/v1/template/{template_id}",
        update_template,
        tag="template",
        errors=NOT_THERE | OF_BODY,
        form_model=UpdateForm,
    ),
    endpoint("DELETE", "/v1/template/{template_id}", delete_template, tag="template", errors=NOT_THERE),
    endpoint(
        "POST",
        "/v1/template/{template_id}/run",
        run_template,
        tag="template",
        status=201,
        errors=NOT_THERE | MAKING,
        form_model=RunForm,
        creates=True,
    ),
]
