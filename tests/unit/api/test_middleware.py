import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from gateway.api import middleware


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
def test_what_browsers_keep(path, status, kept):
    answer = web.Response(status=status)
    middleware.cache_headers(make_mocked_request("GET", path), answer)
    assert answer.headers.get("Cache-Control") == kept


def test_what_an_answer_says_itself_stays():
    answer = web.Response(headers={"Cache-Control": "no-store"})
    middleware.cache_headers(make_mocked_request("GET", "/x.js"), answer)
    assert answer.headers["Cache-Control"] == "no-store"
