"""What ``/v1`` answers when it does not do what was asked: always ``{"status": <code>, "message": "<text>"}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails

from gateway.comfyui import json_text
from gateway.config.values import words_of

PREFIX = "/v1"
NOT_FOUND = "requested entity not found"


class ErrorBody(BaseModel):
    """The body of every answer of 400 and above."""

    status: int = Field(description="The HTTP status code.", examples=[400])
    message: str = Field(description="What is wrong, for people.", examples=["name cannot be empty"])


class ApiError(Exception):
    """A call that is refused. ``message`` is for people and never holds a secret."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})


def bad_request(message: str) -> ApiError:
    """400: the request is not what the route takes."""
    return ApiError(400, message)


def not_found() -> ApiError:
    """404: it does not exist, does not exist any more, or is another owner's."""
    return ApiError(404, NOT_FOUND)


class ErrorAnswer(web.Response):
    """An answer in the form of ``/v1``; the middleware leaves it as it is."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        body = json_text.dumps({"status": status, "message": message}).encode()
        super().__init__(body=body, status=status, headers=headers, content_type="application/json", charset="utf-8")


def told(error: ApiError) -> ErrorAnswer:
    """The answer to a refused call."""
    return ErrorAnswer(error.status, error.message, error.headers)


def of_validation(error: ValidationError) -> ApiError:
    """400 in the words of the first fault that pydantic found, with the field's path: ``name cannot be empty``."""
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"] if part != "[key]")
    return bad_request(_words(field, first))


def _words(field: str, fault: ErrorDetails) -> str:
    limits: dict[str, Any] = fault.get("ctx", {})
    name = field or "the body"
    match fault["type"]:
        case "string_too_short":
            return f"{name} cannot be empty"
        case "string_too_long":
            return f"{name} is longer than {limits['max_length']} characters"
        case "list_type" | "tuple_type":
            return f"{name} must be an array"
        case "uuid_type" | "uuid_parsing" | "uuid_version":
            return f"{name} must be a UUID"
        case _:
            return f"{name} {words_of(fault)}"
