"""The page of a small document: everything is told, and nothing that is told is HTML."""

from aiohttp import web
from pydantic import BaseModel, Field

from gateway.api.openapi import Answer, Endpoint, Parameter, document
from gateway.api.openapi_page import page


class Thing(BaseModel):
    """A <b>thing</b> with ``code``."""

    name: str = Field("x", max_length=3, description="Its <i>name</i>.")
    kinds: list["Thing"] = Field(default_factory=list)


async def handler(_request: web.Request) -> web.Response:
    return web.Response()


def shown(**more):
    endpoint = Endpoint(
        **{
            "method": "POST",
            "path": "/thing/{id}",
            "handler": handler,
            "tag": "a <tag>",
            "summary": "Makes a <thing>",
            "scope": "manage",
            "parameters": [Parameter("id", "path", "Its <id>.")],
            "body": Thing,
            "answers": {200: Answer("Done <b>.", Thing), 204: Answer("Nothing.")},
            **more,
        }
    )
    return page(document([endpoint]), "/gateway/api/openapi.json")


def test_what_is_told_is_escaped():
    html = shown()
    for text in ("<b>thing", "<i>name", "<thing>", "<id>", "Done <b>", "a <tag>"):
        assert text not in html
    for text in ("A &lt;b&gt;thing", "<code>code</code>", "Makes a &lt;thing&gt;", "Its &lt;id&gt;."):
        assert text in html


def test_types_limits_and_references_are_told():
    html = shown()
    assert "string, at most 3 characters, default x" in html
    assert 'array of <a href="#Thing-Output">Thing-Output</a>' in html  # required there, optional in a body
    assert 'id="post_thing_id"' in html
    assert "one with the scope <code>manage</code>" in html
    assert "no body" in html


def test_without_a_scope_no_token_is_needed():
    assert "Needs no token." in shown(scope=None)
