import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from gateway.api import middleware


async def passed(headers, *, method="GET", path="/prompt"):
    async def handler(_):
        return web.Response(status=299)

    answer = await middleware.same_site_only(make_mocked_request(method, path, headers=headers), handler)
    return answer.status


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8188", "http://127.0.0.1:8188"),
        ("localhost:8188", "http://LOCALHOST:8188"),
        ("[::1]:8188", "http://[::1]:8188"),
        ("127.0.0.1:8188", "http://127.0.0.1"),  # browsers that send no port
        ("127.0.0.1", "http://127.0.0.1:8188"),
        ("127.0.0.1:8188", "null"),
        ("gpu.example:8188", "http://elsewhere.example"),  # the check is for loopback hosts, as ComfyUI's
        ("127.example.org", "http://elsewhere.example"),
    ],
)
async def test_same_site(host, origin):
    assert await passed({"Host": host, "Origin": origin}) == 299


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8188", "http://elsewhere.example"),
        ("127.0.0.1:8188", "http://127.0.0.1:9999"),
        ("127.0.0.1:8188", "http://localhost:8188"),
        ("localhost", "http://localhost.elsewhere.example"),
        ("[::1]:8188", "http://elsewhere.example:8188"),
        ("127.1.2.3:8188", "http://elsewhere.example"),
        ("127.0.0.1:8188", "http://127.0.0.1:port"),
    ],
)
async def test_another_site(host, origin):
    assert await passed({"Host": host, "Origin": origin}) == 403
    assert await passed({"Host": host, "Origin": origin}, method="OPTIONS") == 403


async def test_options_is_answered_everywhere():
    assert await passed({"Host": "127.0.0.1"}, method="OPTIONS", path="/no/such") == 200


async def test_only_a_link_to_the_page_comes_from_another_site():
    cross = {"Host": "gpu.example", "Sec-Fetch-Site": "cross-site"}
    assert await passed(cross) == 403
    assert await passed(cross, path="/") == 403
    assert await passed(cross | {"Sec-Fetch-Mode": "navigate"}, path="/") == 299
    assert await passed(cross | {"Sec-Fetch-Mode": "navigate"}, path="/prompt") == 403
    assert await passed(cross | {"Sec-Fetch-Mode": "navigate"}, path="/", method="POST") == 403


@pytest.mark.parametrize(
    ("path", "status", "kept"),
    [
        ("/scripts/app.js", 200, "no-cache"),
        ("/user.css", 404, "no-cache"),
        ("/templates/index.de.json", 200, "no-cache"),
        ("/object.json", 200, None),
        ("/a/Picture.PNG", 200, "public, max-age=86400"),
        ("/missing.webp", 404, "public, max-age=3600"),
        ("/moved.jpg", 302, "no-cache"),
        ("/known.jpg", 304, None),
        ("/failed.jpg", 502, None),
        ("/view", 200, None),
    ],
)
async def test_what_browsers_keep(path, status, kept):
    answer = web.Response(status=status)
    await middleware.cache_headers(make_mocked_request("GET", path), answer)
    assert answer.headers.get("Cache-Control") == kept


async def test_what_an_answer_says_itself_stays():
    answer = web.Response(headers={"Cache-Control": "no-store"})
    await middleware.cache_headers(make_mocked_request("GET", "/x.js"), answer)
    assert answer.headers["Cache-Control"] == "no-store"
