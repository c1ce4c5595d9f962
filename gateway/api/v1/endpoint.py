"""Declaring a route of ``/v1``. The handler's signature is the declaration; the route is checked, run and documented by
it:

    parameter          gets
    ``request``        aiohttp's request
    of the path        the placeholder of that name, as its annotation says (``runner_id: UUID``)
    ``query``          the query, as a pydantic model
    ``body``           the JSON body, as a pydantic model
    ``form``           the multipart body (`forms.Form`); ``form_model`` documents its fields
    returns            a model or a list of models: JSON; None: an empty body; a StreamResponse: itself

What does not fit is 400 before the handler is called.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import typing
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pydantic_core
from aiohttp import web
from blake3 import blake3
from pydantic import BaseModel, TypeAdapter, ValidationError

from gateway.access.callers import caller_of, require
from gateway.api.idempotency import HEADER, KEYS, REPLAYED, KeyMalformed, KeyReused, KeyUnderWay, key_of, use_id
from gateway.api.openapi import JSON, Answer, Endpoint, Parameter, Scope
from gateway.api.services import services
from gateway.api.v1.errors import ApiError, ErrorAnswer, ErrorBody, bad_request, of_validation
from gateway.api.v1.faults import KNOWN, told_of
from gateway.api.v1.forms import MULTIPART, Form, read_form

Typed = Callable[..., Awaitable[Any]]
ANY = "*/*"
OF_CALLERS = {
    401: "No token, or one that is not taken.",
    403: "The token lacks the scope.",
    429: "Too many requests from this address.",
}
OF_BODIES = {408: "The body did not arrive in time.", 413: "The request is too large."}
ERRORS = {500: "The gateway failed.", 503: "The gateway cannot do this now."}
KEY = Parameter(HEADER, "header", "Sent again with the same key, the request makes nothing again.", required=False)
KEY_REFUSALS = {
    409: f"The first request with this {HEADER} has not been answered yet.",
    422: f"This {HEADER} came with another request first.",
}
REPLAY = {REPLAYED: "true where this answer was given before, to the same key."}


def endpoint(
    method: str,
    path: str,
    handler: Typed,
    *,
    tag: str,
    scope: Scope | None = "run",
    status: int = 200,
    errors: Mapping[int, str] | None = None,
    form_model: type[BaseModel] | None = None,
    creates: bool = False,
) -> Endpoint:
    """Declares a route. Its summary and description are the handler's docstring.

    Args:
        method: GET, POST, PUT or DELETE.
        path: under ``/v1``, with placeholders for the handler's parameters.
        handler: see the top of this module.
        tag: the resource.
        scope: that the caller's token needs; None: who calls is not asked (`authentication.OPEN` has it, too).
        status: of the answer that is good.
        errors: documented refusals beside those that every route has, by status.
        form_model: the fields of a form.
        creates: takes an ``Idempotency-Key`` (`gateway.api.idempotency`); the handler makes what it makes under
            ``new_id(request)``, and gives back what it finds there.
    """
    signature = _Signature(handler, path)
    summary, _, description = (inspect.getdoc(handler) or "").partition("\n")
    parameters = [
        Parameter(name, "path", "Its id." if kind is UUID else "", kind) for name, kind in signature.of_path.items()
    ]
    return Endpoint(
        method=method,
        path=path,
        handler=_Route(handler, signature, scope, status, creates).serve,
        tag=tag,
        summary=summary.rstrip("."),
        description=re.sub(r"(?<!\n)\n(?!\n)", " ", description.strip()),
        scope=scope,
        parameters=[*parameters, KEY] if creates else parameters,
        query=signature.query,
        body=form_model or signature.body,
        media=MULTIPART if form_model else JSON,
        answers={
            **_refusals(signature, scope, creates, errors or {}),
            status: Answer("Done.", signature.returns, signature.media, REPLAY if creates else {}),
        },
    )


def _refusals(signature: _Signature, scope: Scope | None, creates: bool, own: Mapping[int, str]) -> dict[int, Answer]:
    """What a route may answer instead: what it says itself, and what follows from its signature."""
    told = {
        **ERRORS,
        **(OF_CALLERS if scope is not None else {}),
        **({400: "The request is not what this route takes."} if signature.takes_input else {}),
        **(OF_BODIES if signature.body is not None or signature.takes_form else {}),
        **own,
        **(KEY_REFUSALS if creates else {}),
    }
    return {code: Answer(text, ErrorBody) for code, text in told.items()}


class _Signature:
    """What a handler takes and returns."""

    def __init__(self, handler: Typed, path: str) -> None:
        hints = typing.get_type_hints(handler)
        returns = hints.pop("return")
        is_response = isinstance(returns, type) and issubclass(returns, web.StreamResponse)
        self.returns = None if returns is type(None) else bytes if is_response else returns
        self.media = ANY if is_response else JSON
        hints.pop("request", None)
        self.takes_request = "request" in inspect.signature(handler).parameters
        self.query: type[BaseModel] | None = hints.pop("query", None)
        self.body: type[BaseModel] | None = hints.pop("body", None)
        self.takes_form = hints.pop("form", None) is not None
        self.of_path: dict[str, Any] = hints
        self.adapters = {name: TypeAdapter(kind) for name, kind in hints.items()}
        self.answer: TypeAdapter[Any] | None = None if self.returns is None or is_response else TypeAdapter(returns)
        unknown = [name for name in hints if f"{{{name}}}" not in path]
        if unknown:
            raise TypeError(f"{path}: no placeholder for {unknown}")

    @property
    def takes_input(self) -> bool:
        """Whether a request can be wrong."""
        return bool(self.of_path) or self.query is not None or self.body is not None or self.takes_form


@dataclass(frozen=True, slots=True)
class _Route:
    """What aiohttp calls."""

    handler: Typed
    signature: _Signature
    scope: Scope | None
    status: int
    creates: bool

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """The handler's answer, or the refusal."""
        arguments: dict[str, Any] = {}
        try:
            if self.scope is not None:
                require(request, self.scope)
            arguments = await self._arguments(request)
            key = key_of(request) if self.creates else None
            return await (self._call(arguments) if key is None else self._once(key, request, arguments))
        except KNOWN as error:
            return told_of(request, error)
        except KeyMalformed as error:
            return ErrorAnswer(400, str(error))
        finally:
            form = arguments.get("form")
            if isinstance(form, Form):
                form.close()

    async def _call(self, arguments: dict[str, Any]) -> web.StreamResponse:
        return self._answer(await self.handler(**arguments))

    async def _once(self, key: str, request: web.Request, arguments: dict[str, Any]) -> web.StreamResponse:
        async def act(given: UUID) -> web.Response:
            use_id(request, given)
            try:
                answer = await self._call(arguments)
            except KNOWN as error:
                return told_of(request, error)
            assert isinstance(answer, web.Response), "what creates answers with a whole body"
            return answer

        fingerprint = await _fingerprint(request, arguments)
        try:
            return await request.app[KEYS].once(caller_of(request).owner, key, fingerprint, act)
        except KeyUnderWay:
            return ErrorAnswer(409, KEY_REFUSALS[409], {"Retry-After": "1"})
        except KeyReused:
            return ErrorAnswer(422, KEY_REFUSALS[422])

    async def _arguments(self, request: web.Request) -> dict[str, Any]:
        """Raises ApiError: 400 where the request does not fit; 408 and 413 for its body."""
        wanted = self.signature
        found: dict[str, Any] = {"request": request} if wanted.takes_request else {}
        try:
            for name, adapter in wanted.adapters.items():
                found[name] = adapter.validate_strings(request.match_info[name])
        except ValidationError:
            raise bad_request(f"{name} is not a valid {_kind(wanted.of_path[name])}") from None
        try:
            if wanted.query is not None:
                found["query"] = wanted.query.model_validate(dict(request.query))
            if wanted.body is not None:
                found["body"] = wanted.body.model_validate_json(await _read(request))
        except ValidationError as error:
            raise of_validation(error) from None
        if wanted.takes_form:
            found["form"] = await read_form(request)
        return found

    def _answer(self, result: Any) -> web.StreamResponse:
        if isinstance(result, web.StreamResponse):
            return result
        if self.signature.answer is None:
            return web.Response(status=self.status)
        body = self.signature.answer.dump_json(result, by_alias=True)
        return web.Response(body=body, status=self.status, content_type=JSON, charset="utf-8")


async def _fingerprint(request: web.Request, arguments: dict[str, Any]) -> str:
    """The same for every sending of the same request: neither the order of a form's parts nor of JSON's keys counts."""
    form, body = arguments.get("form"), arguments.get("body")
    if isinstance(form, Form):
        content = await form.digest()
    else:
        content = "" if body is None else json.dumps(json.loads(await request.read()), sort_keys=True)
    return blake3(f"{request.method} {request.path_qs}\n{content}".encode()).hexdigest()


def _kind(of: Any) -> str:
    return "UUID" if of is UUID else "value"


async def _read(request: web.Request) -> bytes:
    seconds = services(request).config.server.body_seconds
    try:
        async with asyncio.timeout(seconds):
            content = await request.read()
    except TimeoutError:
        raise ApiError(408, f"the body did not arrive within {seconds:g} seconds") from None
    if not content:
        raise bad_request("the body must be JSON")
    try:
        pydantic_core.from_json(content)
    except ValueError:
        raise bad_request("the body is not valid JSON") from None
    return content
