"""Bodies and queries of ``/gateway/api/``, checked by pydantic models, refused with the field's name, not its value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from gateway.access.wanted import faults_of
from gateway.api import answers
from gateway.comfyui import errors, json_text

Model = TypeVar("Model", bound=BaseModel)


class BodyRefused(web.HTTPBadRequest):
    """400 in ComfyUI's form: ``extra_info`` has every field with what is wrong about it."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        details = "; ".join(f"{name} {fault}" if name else fault for name, fault in fields.items())
        body = errors.error_body("invalid_request", "The request is not valid", details, {"fields": dict(fields)})
        super().__init__(text=json_text.dumps(body), content_type="application/json")


async def body_of(request: web.Request, model: type[Model]) -> Model:
    """The request's JSON object as this model; no body is an empty one. Raises BodyRefused."""
    try:
        body = await answers.body_json(request) if request.body_exists else {}
    except ValueError:
        raise BodyRefused({"": "the body is not JSON"}) from None
    return valid(model, body)


def valid(model: type[Model], value: Any) -> Model:
    """A value as this model. Raises BodyRefused."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise BodyRefused(faults_of(error)) from None
