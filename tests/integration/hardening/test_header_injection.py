"""Line breaks and quotes in names and values: no header of an answer, nor of a request to a runner, is the client's."""

import re

import aiohttp
import aiohttp.web
import pytest
from support.browsers import browser
from support.client import Client
from support.graphs import save_graph
from support.nodes import ROUTES
from support.pools import running_pool
from support.raw import Connection, ask
from yarl import URL

INJECTED = "x-injected"
QUOTED = re.compile(r'filename="(?:[^"\\]|\\.)*"')  # one name, whose quotes are its own


async def headers(request):
    return aiohttp.web.json_response(dict(request.headers))


async def generous(_request):
    told = {
        "Set-Cookie": "a=b",
        "X-Kept": "1",
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Credentials": "true",
    }
    return aiohttp.web.Response(headers=told)


@pytest.fixture
async def pool(tmp_path):
    more = [aiohttp.web.get("/tn/headers", headers), aiohttp.web.get("/tn/generous", generous)]
    async with running_pool(tmp_path / "data", 1, options=[{"extra_routes": [*ROUTES, *more]}]) as running:
        yield running


@pytest.mark.parametrize(
    "target",
    [
        "/view?filename=a%0d%0aX-Injected:%201",
        "/view?filename=a.png&type=output&subfolder=%0d%0aX-Injected:%201",
        "/?a=%0d%0aX-Injected:%201",
        "/%0d%0aX-Injected:%201",
        "/history/%0d%0aX-Injected:%201",
        "/api/jobs/%0d%0aX-Injected:%201",
        "/api/userdata/%0d%0aX-Injected:%201",
        "/tn/echo/%0d%0aX-Injected:%201?b=%0d%0aX-Injected:%201",
        "/gateway/login?next=%0d%0aX-Injected:%201",
        "/gateway/login?next=//elsewhere.example",
    ],
)
async def test_in_paths_and_queries(pool, target):
    answer = await ask(pool.base, target)
    assert INJECTED not in answer.headers
    assert answer.status < 500
    assert "elsewhere.example" not in answer.headers.get("location", "")


NAMES = [
    'a"; filename="b.html',
    "a\\",
    "ä.png",
    "a;b.png",
    "a%0d%0aX-Injected: 1.png",
    "a’.png",
    "\u202egnp.exe",
]


async def upload(base: str, name: bytes, connection: Connection) -> int:
    quoted = name.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    body = b'--x\r\nContent-Disposition: form-data; name="image"; filename="' + quoted + b'"\r\n\r\nbytes\r\n--x--\r\n'
    head = b"POST /upload/image HTTP/1.1\r\nHost: gateway\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    await connection.send(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    return (await connection.answer()).status


@pytest.mark.parametrize("name", NAMES)
async def test_in_the_names_of_files(pool, http, name):
    async with Connection.to(pool.base) as connection:
        status = await upload(pool.base, name.encode(), connection)
    if name == NAMES[0]:
        assert status == 400  # a form whose parser sees two names
        return
    assert status == 200
    async with http.get(f"{pool.base}/view", params={"filename": name, "type": "input"}) as answer:
        if answer.status == 404:  # Python's parser of forms cut it at a backslash
            return
        assert answer.status == 200
        assert INJECTED not in answer.headers
        disposition = answer.headers.getall("Content-Disposition")
    assert len(disposition) == 1
    assert QUOTED.fullmatch(disposition[0])


@pytest.mark.parametrize("name", [b"a\rb.png", b"a\nb.png", b"a\0b.png", b"a\x7fb.png"])
async def test_control_characters_in_the_names_of_files(pool, http, name):
    """What a parser makes of them may be kept; it never gets into a header."""
    async with Connection.to(pool.base) as connection:
        assert await upload(pool.base, name, connection) in (200, 400, 500)
    async with http.get(f"{pool.base}/internal/files/input") as answer:
        kept = await answer.json()
    for each in kept:
        async with http.get(
            f"{pool.base}/view", params={"filename": each.removesuffix(" [input]"), "type": "input"}
        ) as got:
            assert got.status < 500
            assert INJECTED not in got.headers


async def test_in_what_a_job_is_called(pool):
    """Ids and prefixes are the client's words, and are told in headers and in names."""
    async with Client.connected(pool.base) as client:
        for prompt_id in ("a\r\nX-Injected: 1", "ä", "\x00", "a" * 128):
            body = {"prompt": save_graph(1), "client_id": client.sid, "prompt_id": prompt_id}
            async with client.http.post(f"{pool.base}/prompt", json=body) as answer:
                assert answer.status in (200, 400)
                assert INJECTED not in answer.headers
            assert (await client.http.get(f"{pool.base}/history/1")).status == 200


class TestTowardsRunners:
    async def test_what_tells_of_the_client_stays(self, pool, http):
        private = {
            "Authorization": "Bearer x",
            "Cookie": "a=b",
            "Origin": pool.base,
            "Referer": f"{pool.base}/secret",
            "X-API-Key": "x",
            "X-Forwarded-For": "1.2.3.4",
            "Forwarded": "for=1.2.3.4",
            "X-Real-IP": "1.2.3.4",
            "Proxy-Authorization": "Basic x",
            "Sec-Fetch-Site": "same-origin",
        }
        async with http.get(f"{pool.base}/tn/headers", headers=private | {"Accept-Language": "de"}) as answer:
            seen = {name.lower(): value for name, value in (await answer.json()).items()}
        assert seen["accept-language"] == "de"
        assert not {name.lower() for name in private} & set(seen)
        assert seen["host"] != URL(pool.base).authority

    async def test_what_the_connection_header_names_stays(self, pool):
        answer = await ask(pool.base, "/tn/headers", headers="X-Hop: 1\r\nConnection: X-Hop\r\n")
        assert b"X-Hop" not in answer.body

    async def test_a_runners_cookies_and_cors_headers_reach_nobody(self, pool):
        async with browser(pool.base) as client, client.http.get(f"{pool.base}/tn/generous") as answer:
            assert answer.status == 200
            assert answer.headers.getall("X-Kept") == ["1"]
            assert "Set-Cookie" not in answer.headers
            assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
