"""The forms of workflows and templates: their own fields, a JSON file, and one field for each placeholder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import pydantic_core
from aiohttp import web
from aiohttp.web_request import FileField
from pydantic import BaseModel, ValidationError

from gateway.api.answers import RETRY_SECONDS
from gateway.api.terms import judged, terms_of
from gateway.api.v1.errors import ApiError, bad_request, of_validation
from gateway.api.v1.forms import Form, chunks
from gateway.comfyui import json_text
from gateway.files.uploads import UploadRefused
from gateway.jobs.hooks import HookRefused, hook_of
from gateway.jobs.terms import Terms
from gateway.workflows.inputs import NewFile
from gateway.workflows.placeholders import WorkflowRefused, graph_of
from gateway.workflows.templates import TemplateLimit
from gateway.workflows.workflows import Given, WorkflowsFull

GRAPH_MOST_BYTES = 16 * 1024 * 1024
WEBHOOK = "webhook"

Fields = TypeVar("Fields", bound=BaseModel)


def fields_of(form: Form, model: type[Fields]) -> Fields:
    """The form's own text fields. Raises ApiError."""
    given: dict[str, Any] = {name: form.texts[name] for name in model.model_fields if name in form.texts}
    as_file = next((name for name in model.model_fields if name in form.files), None)
    if as_file is not None:
        raise bad_request(f"{as_file} must be a text, not a file")
    if "tags" in given:
        given["tags"] = list(dict.fromkeys(tag for part in given["tags"].split(",") if (tag := part.strip())))
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise of_validation(error) from None


async def graph_in(form: Form, name: str) -> dict[str, Any]:
    """The graph of a JSON file. Raises ApiError, WorkflowRefused."""
    content = await form.content(name)
    if content is None:
        raise bad_request(f"{name} is required")
    if len(content) > GRAPH_MOST_BYTES:
        raise bad_request(f"{name} is larger than {GRAPH_MOST_BYTES >> 20} MiB")
    try:
        value = json_text.loads(content)
        pydantic_core.to_json(value)  # as it will be told: no half characters, not nested without end
    except ValueError:
        raise bad_request(f"{name} is not valid JSON") from None
    return graph_of(value, name)


async def terms_in(request: web.Request, form: Form) -> Terms:
    """The terms of the request, its field ``webhook`` included: a URL, or a JSON object with url and events.

    Raises ApiError.
    """
    text = form.texts.get(WEBHOOK, "").strip()
    if WEBHOOK in form.files:
        raise bad_request(f"{WEBHOOK} must be a text, not a file")
    if not text:
        return terms_of(request)
    try:
        hook = hook_of(json_text.loads(text) if text.startswith("{") else text)
        return terms_of(request, [await judged(request, hook)])
    except HookRefused as refused:
        raise bad_request(f"{WEBHOOK} {refused}") from None
    except ValueError:
        raise bad_request(f"{WEBHOOK} is not valid JSON") from None


def given_in(form: Form, *, but: set[str]) -> Given:
    """The fields for placeholders: all of the form's but its own."""
    but = but | {WEBHOOK}
    texts = {name: text for name, text in form.texts.items() if name not in but}
    files = {name: _new_file(file) for name, file in form.files.items() if name not in but}
    return Given(texts, files)


@contextmanager
def refusals() -> Iterator[None]:
    """What the workflows room refuses, in this API's words."""
    try:
        yield
    except WorkflowRefused as error:
        raise bad_request(str(error)) from error
    except WorkflowsFull as error:
        raise ApiError(429, str(error), {"Retry-After": str(RETRY_SECONDS)}) from error
    except TemplateLimit as error:
        raise ApiError(403, str(error)) from error
    except UploadRefused as error:
        raise ApiError(error.status, str(error)) from error


def _new_file(file: FileField) -> NewFile:
    read: partial[AsyncIterator[bytes]] = partial(chunks, file)
    return NewFile(file.filename, read)
