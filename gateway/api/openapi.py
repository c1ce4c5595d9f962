"""The OpenAPI 3.1 document of the gateway's own routes. A route is declared once, as an `Endpoint`: the router and the
document are made of the same declaration."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Literal

from aiohttp import web
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

VERSION = "3.1.0"
JSON = "application/json"
REFERENCES = "#/components/schemas/{model}"
SECURITY = "token"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Scope = Literal["run", "manage", "admin"]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of a route. ``model``: any type that pydantic has a schema for; None: no body."""

    description: str
    model: Any = None
    media: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)  # name -> description


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter that is no field of the query's model: of the path, or a header."""

    name: str
    place: Literal["path", "header", "query"]
    description: str
    type: Any = str
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One route of the gateway's own.

    Attributes:
        path: with aiohttp's placeholders.
        tag: the group that it is shown in.
        scope: of the token that may call it; None: anybody.
        query, body: their models. ``media`` is the body's type.
        answers: by status.
    """

    method: str
    path: str
    handler: Handler
    tag: str
    summary: str
    description: str = ""
    scope: Scope | None = None
    parameters: Sequence[Parameter] = ()
    query: type[BaseModel] | None = None
    body: Any = None
    media: str = JSON
    answers: Mapping[int, Answer]

    def route(self) -> web.RouteDef:
        """For aiohttp's router."""
        return web.RouteDef(self.method, self.path, self.handler, {})


def document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """The whole document, as JSON can say it."""
    listed = list(endpoints)
    schemas = _Schemas(listed)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in listed:
        paths.setdefault(_plain(endpoint.path), {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    return {
        "openapi": VERSION,
        "info": {
            "title": "comfy-gateway",
            "version": version("comfy-gateway"),
            "summary": "One URL that looks like one ComfyUI, with a pool of GPUs behind it.",
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(endpoint.tag for endpoint in listed)],
        "paths": paths,
        "components": {
            "schemas": schemas.definitions,
            "securitySchemes": {SECURITY: {"type": "http", "scheme": "bearer", "description": "A token's text."}},
        },
    }


class _Schemas:
    """The JSON schemas of every model that is used, and references to them."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        keyed: dict[tuple[int, JsonSchemaMode], Any] = {}
        for endpoint in endpoints:
            for model, mode in _models(endpoint):
                keyed[id(model), mode] = TypeAdapter(model)
        inputs = [(key, key[1], adapter) for key, adapter in keyed.items()]
        self._found, shared = TypeAdapter.json_schemas(
            inputs, ref_template=REFERENCES, schema_generator=GenerateJsonSchema
        )
        self.definitions: dict[str, Any] = shared.get("$defs", {})

    def of(self, model: Any, mode: JsonSchemaMode) -> dict[str, Any]:
        """The schema of a model, mostly a reference."""
        return dict(self._found[(id(model), mode), mode])


def _models(endpoint: Endpoint) -> Iterable[tuple[Any, JsonSchemaMode]]:
    if endpoint.body is not None:
        yield endpoint.body, "validation"
    for parameter in endpoint.parameters:
        yield parameter.type, "validation"
    for answer in endpoint.answers.values():
        if answer.model is not None:
            yield answer.model, "serialization"


def _operation(endpoint: Endpoint, schemas: _Schemas) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": _operation_id(endpoint),
        "tags": [endpoint.tag],
        "summary": endpoint.summary,
        "responses": {str(status): _answer(answer, schemas) for status, answer in sorted(endpoint.answers.items())},
        "security": [] if endpoint.scope is None else [{SECURITY: [endpoint.scope]}],
    }
    if endpoint.description:
        told["description"] = endpoint.description
    parameters = [_parameter(parameter, schemas) for parameter in endpoint.parameters]
    if endpoint.query is not None:
        parameters += _query(endpoint.query)
    if parameters:
        told["parameters"] = parameters
    if endpoint.body is not None:
        schema = schemas.of(endpoint.body, "validation")
        told["requestBody"] = {"required": True, "content": {endpoint.media: {"schema": schema}}}
    return told


def _answer(answer: Answer, schemas: _Schemas) -> dict[str, Any]:
    told: dict[str, Any] = {"description": answer.description}
    if answer.headers:
        told["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in answer.headers.items()
        }
    if answer.model is not None:
        told["content"] = {answer.media: {"schema": schemas.of(answer.model, "serialization")}}
    return told


def _parameter(parameter: Parameter, schemas: _Schemas) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.required,
        "description": parameter.description,
        "schema": schemas.of(parameter.type, "validation"),
    }


def _query(model: type[BaseModel]) -> list[dict[str, Any]]:
    schema = model.model_json_schema(ref_template=REFERENCES)
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": of_field.pop("description", ""),
            "schema": of_field,
        }
        for name, of_field in schema["properties"].items()
    ]


def _plain(path: str) -> str:
    """The path without the patterns that aiohttp's placeholders may have."""
    return re.sub(r"\{(\w+):[^{}]*\}", r"{\1}", path)


def _operation_id(endpoint: Endpoint) -> str:
    words = re.findall(r"\w+", _plain(endpoint.path))
    return "_".join([endpoint.method.lower(), *words])
