"""Forms as they come: bounded, each part once, and the same digest for the same parts."""

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gateway.api.v1 import forms
from gateway.api.v1.errors import ApiError


@pytest.fixture
async def read():
    """Sends a body, and returns what was read of it."""

    async def handler(request):
        try:
            form = await forms.read_form(request)
        except ApiError as error:
            return web.json_response({"refused": error.status, "message": error.message})
        files = {name: (await form.content(name)).decode() for name in form.files}
        told = {"texts": form.texts, "files": files, "digest": await form.digest()}
        form.close()
        return web.json_response(told)

    app = web.Application()
    app.router.add_post("/", handler)
    async with TestClient(TestServer(app)) as client:

        async def send(body, **headers):
            async with client.post("/", data=body, headers=headers) as answer:
                return await answer.json()

        yield send


def form(*parts, boundary="b"):
    with aiohttp.MultipartWriter("form-data", boundary=boundary) as writer:
        for name, content, filename in parts:
            part = writer.append(content)
            part.set_content_disposition("form-data", name=name, **({"filename": filename} if filename else {}))
        return writer


A, B = ("a", "one", None), ("b", b"two" * 200_000, "b.bin")


async def test_texts_and_files_are_told_apart(read):
    told = await read(form(A, B))
    assert (told["texts"], told["files"]) == ({"a": "one"}, {"b": "two" * 200_000})


async def test_neither_order_nor_boundary_change_the_digest_and_everything_else_does(read):
    digest = (await read(form(A, B)))["digest"]
    assert (await read(form(B, A, boundary="other")))["digest"] == digest
    others = [
        form(A),
        form(("a", "one", "a.txt"), B),
        form(("a", "two", None), B),
        form(A, ("b", b"two", "b.bin")),
        form(A, ("b", B[1], "c.bin")),
        form(("c", "one", None), B),
    ]
    digests = {(await read(other))["digest"] for other in others}
    assert len(digests | {digest}) == len(others) + 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (form(A, A), "a field is in the form twice"),
        (form(A, ("a", "x", "file")), "a field is in the form twice"),
        (form(("a", b"\xff", None)), "a is not UTF-8"),
        ({"a": "urlencoded"}, "the body must be multipart/form-data"),
        (b"x", "the body must be multipart/form-data"),
    ],
)
async def test_what_is_no_form_is_refused(read, body, message):
    assert await read(body) == {"refused": 400, "message": message}


async def test_no_body_is_an_empty_form(read):
    told = await read(b"")
    assert (told["texts"], told["files"]) == ({}, {})


@pytest.mark.parametrize(
    "body",
    [
        b"x",
        b"--b\r\n",
        b"--b\r\n\r\nno name\r\n--b--",
        b"--b\r\nContent-Disp",
        b"--b\r\nContent-Disposition: form-data; name=a\r\nContent-Type: text/plain; charset=none\r\n\r\nx\r\n--b--",
        b"--b\r\nContent-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: none\r\n\r\nx\r\n--b--",
        b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx",
    ],
)
async def test_what_is_malformed_is_refused_too(read, body):
    told = await read(body, **{"Content-Type": "multipart/form-data; boundary=b"})
    assert told == {"refused": 400, "message": "the body is no well-formed multipart/form-data"}


async def test_without_a_boundary_it_is_refused(read):
    assert (await read(b"x", **{"Content-Type": "multipart/form-data"}))["refused"] == 400


async def test_too_much_is_413(read, monkeypatch):
    monkeypatch.setattr(forms, "UPLOAD_MOST_BYTES", 100_000)
    assert await read(form(B)) == {"refused": 413, "message": "the request is larger than 0.1 MB"}


async def test_too_slow_is_408(read, monkeypatch):
    monkeypatch.setattr(forms, "ARRIVAL_SECONDS", 0.0)
    assert (await read(form(A, B)))["refused"] == 408
