"""What a handler's signature declares: what it is called with, what is refused before, what is answered and told."""

import asyncio
import json
from types import SimpleNamespace
from uuid import UUID

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import Field

from gateway.access.callers import BROWSERS, IDENTITY, Browsers, Identity
from gateway.api.openapi import document
from gateway.api.services import SERVICES
from gateway.api.v1.endpoint import endpoint
from gateway.api.v1.errors import ApiError
from gateway.api.v1.forms import Form
from gateway.api.v1.models import Request, View
from gateway.api.v1.pagination import Page

RUN_ONLY = {"headers": {"X-Scopes": "run"}}
DROPPED = web.AppKey("dropped", list)
ID = "0b4c4f0e-5f0f-4a44-9a53-2f3c8d1f7f11"


class Thing(View):
    """A thing."""

    id: UUID
    name: str | None = None


class NewThing(Request):
    """A thing to be made."""

    name: str = Field(min_length=1)


async def get_thing(thing_id: UUID) -> Thing:
    """One thing.

    It has a name
    of its own.

    And an id.
    """
    return Thing(id=thing_id, name="a")


async def list_things(query: Page) -> list[Thing]:
    """Things."""
    return [Thing(id=UUID(int=query.page))]


async def make_thing(body: NewThing) -> Thing:
    """Makes a thing."""
    if body.name == "bad":
        raise ApiError(409, "there is one")
    return Thing(id=UUID(ID), name=body.name)


async def drop_thing(request: web.Request, thing_id: UUID) -> None:
    """Drops a thing."""
    request.app[DROPPED].append(thing_id)


async def send_form(form: Form) -> dict[str, str]:
    """Reads a form."""
    return {**form.texts, **{name: (await form.content(name)).decode() for name in form.files}}


async def send_file() -> web.StreamResponse:
    """A file."""
    return web.Response(body=b"file", content_type="image/png")


ENDPOINTS = [
    endpoint("GET", "/v1/thing/{thing_id}", get_thing, tag="thing"),
    endpoint("GET", "/v1/thing", list_things, tag="thing"),
    endpoint("POST", "/v1/thing", make_thing, tag="thing", status=201, errors={409: "There is one."}),
    endpoint("DELETE", "/v1/thing/{thing_id}", drop_thing, tag="thing", scope="manage"),
    endpoint("POST", "/v1/form", send_form, tag="form", form_model=NewThing),
    endpoint("GET", "/v1/file", send_file, tag="form", scope=None),
]


@web.middleware
async def identified(request, handler):
    request[IDENTITY] = Identity("ada", frozenset(request.headers.get("X-Scopes", "run manage").split()))
    return await handler(request)


@pytest.fixture
async def http():
    app = web.Application(middlewares=[identified])
    app[BROWSERS] = Browsers()
    app[SERVICES] = SimpleNamespace(config=SimpleNamespace(server=SimpleNamespace(body_seconds=0.05)))
    app[DROPPED] = []
    app.add_routes([each.route() for each in ENDPOINTS])
    async with TestClient(TestServer(app)) as client:
        yield client


async def ask(http, method, path, **more):
    async with http.request(method, path, **more) as answer:
        body = await answer.read()
        return answer.status, json.loads(body) if answer.content_type == "application/json" else body


async def test_a_model_is_answered_whole(http):
    assert await ask(http, "GET", f"/v1/thing/{ID}") == (200, {"id": ID, "name": "a"})
    assert await ask(http, "GET", "/v1/thing?page=1") == (200, [{"id": str(UUID(int=1)), "name": None}])


async def test_the_status_is_the_declared_one_and_none_is_an_empty_body(http):
    assert (await ask(http, "POST", "/v1/thing", json={"name": "b", "more": 1}))[0] == 201
    assert await ask(http, "DELETE", f"/v1/thing/{ID}") == (200, b"")
    assert http.app[DROPPED] == [UUID(ID)]


async def test_a_response_is_answered_as_it_is(http):
    assert await ask(http, "GET", "/v1/file", headers={"X-Scopes": ""}) == (200, b"file")


@pytest.mark.parametrize(
    ("method", "path", "more", "status", "message"),
    [
        ("GET", "/v1/thing/x", {}, 400, "thing_id is not a valid UUID"),
        ("GET", "/v1/thing?page=0", {}, 400, "page must be greater than or equal to 1"),
        ("POST", "/v1/thing", {}, 400, "the body must be JSON"),
        ("POST", "/v1/thing", {"data": b"{"}, 400, "the body is not valid JSON"),
        ("POST", "/v1/thing", {"data": b'"\\ud800"'}, 400, "the body is not valid JSON"),
        ("POST", "/v1/thing", {"data": b"\xff"}, 400, "the body is not valid JSON"),
        ("POST", "/v1/thing", {"data": b"[" * 100_000}, 400, "the body is not valid JSON"),
        ("POST", "/v1/thing", {"json": {"name": ""}}, 400, "name cannot be empty"),
        ("POST", "/v1/thing", {"json": {"name": "bad"}}, 409, "there is one"),
        ("POST", "/v1/form", {"json": {}}, 400, "the body must be multipart/form-data"),
        ("DELETE", f"/v1/thing/{ID}", RUN_ONLY, 403, "This needs a token with the scope 'manage'"),
    ],
)
async def test_what_does_not_fit_is_refused_before(http, method, path, more, status, message):
    assert await ask(http, method, path, **more) == (status, {"status": status, "message": message})
    assert http.app[DROPPED] == []


async def test_a_form_has_texts_and_files(http):
    form = aiohttp.FormData({"name": "a"})
    form.add_field("file", b"content", filename="a.txt")
    assert await ask(http, "POST", "/v1/form", data=form) == (200, {"name": "a", "file": "content"})


async def test_a_body_that_does_not_come_is_408(http):
    never = asyncio.Event()

    async def slow():
        yield b"{"
        await never.wait()

    assert await ask(http, "POST", "/v1/thing", data=slow()) == (
        408,
        {"status": 408, "message": "the body did not arrive within 0.05 seconds"},
    )
    never.set()


def test_the_document_says_the_same():
    told = document(ENDPOINTS)
    get = told["paths"]["/v1/thing/{thing_id}"]["get"]
    assert (get["summary"], get["description"]) == ("One thing", "It has a name of its own.\n\nAnd an id.")
    assert get["parameters"][0]["schema"] == {"type": "string", "format": "uuid"}
    assert get["security"] == [{"token": ["run"]}]
    assert get["responses"]["200"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Thing"}
    assert get["responses"].keys() == {"200", "400", "401", "403", "429", "500", "503"}
    assert told["components"]["schemas"]["Thing"]["required"] == ["id", "name"]
    assert [each["name"] for each in told["paths"]["/v1/thing"]["get"]["parameters"]] == ["page", "per_page"]
    post = told["paths"]["/v1/thing"]["post"]
    assert post["requestBody"]["content"].keys() == {"application/json"}
    assert {"201", "400", "408", "409", "413"} <= post["responses"].keys()
    assert "content" not in told["paths"]["/v1/thing/{thing_id}"]["delete"]["responses"]["200"]
    assert told["paths"]["/v1/form"]["post"]["requestBody"]["content"].keys() == {"multipart/form-data"}
    file = told["paths"]["/v1/file"]["get"]
    assert file["security"] == []
    assert file["responses"]["200"]["content"].keys() == {"*/*"}
    assert file["responses"].keys() == {"200", "500", "503"}


def test_a_parameter_without_a_placeholder_is_a_mistake():
    with pytest.raises(TypeError, match="thing_id"):
        endpoint("GET", "/v1/thing", get_thing, tag="thing")
