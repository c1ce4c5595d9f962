"""What browsers are told: files that would run in them come as downloads, pages of other sites are kept out, and the
gateway's own pages can be put in no frame."""

import aiohttp
import pytest
from support.nodes import ROUTES
from support.pools import running_pool

SCRIPT = b"<html><script>alert(1)</script>"
ACTIVE = [
    "x.html",
    "x.htm",
    "x.xhtml",
    "x.svg",
    "x.js",
    "x.mjs",
    "x.css",
    "x.xml",
    "x.mht",
    "x.HTML",
    "x.xsl",
    "x.svgz",
]
PASSIVE = ["x.png", "x.txt", "x.json", "x.mp4", "x.bin", "x"]
STUDIO = "https://studio.example"


async def upload(pool, http, name):
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("image", SCRIPT, filename=name)
    async with http.post(f"{pool.base}/upload/image", data=form) as answer:
        assert answer.status == 200


class TestFiles:
    @pytest.mark.parametrize("name", ACTIVE)
    async def test_what_would_run_is_a_download(self, pool, http, name):
        await upload(pool, http, name)
        async with http.get(f"{pool.base}/view", params={"filename": name, "type": "input"}) as answer:
            assert answer.status == 200
            assert answer.content_type == "application/octet-stream"
            assert answer.headers["Content-Disposition"].startswith("attachment")
            assert answer.headers["X-Content-Type-Options"] == "nosniff"

    @pytest.mark.parametrize("name", PASSIVE)
    async def test_nothing_is_guessed_from_its_bytes(self, pool, http, name):
        await upload(pool, http, name)
        async with http.get(f"{pool.base}/view", params={"filename": name, "type": "input"}) as answer:
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.content_type != "text/html"

    async def test_a_drawing_is_shown_within_a_page_only(self, pool, http):
        await upload(pool, http, "x.svg")
        params = {"filename": "x.svg", "type": "input"}
        shown = {"Sec-Fetch-Dest": "image"}
        async with http.get(f"{pool.base}/view", params=params, headers=shown) as answer:
            assert answer.content_type == "image/svg+xml"
            assert "Sec-Fetch-Dest" in answer.headers["Vary"]
        for place in ("document", "iframe", "object", "embed", ""):
            async with http.get(f"{pool.base}/view", params=params, headers={"Sec-Fetch-Dest": place}) as answer:
                assert answer.content_type == "application/octet-stream"

    async def test_a_users_files_too(self, pool, http):
        async with http.post(f"{pool.base}/api/userdata/x.html", data=SCRIPT) as answer:
            assert answer.status == 200
        async with http.get(f"{pool.base}/api/userdata/x.html") as answer:
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Content-Disposition"].startswith("attachment")

    async def test_words_of_a_request_come_back_as_no_page(self, pool, http):
        """Answers that tell what was asked for are JSON or plain text."""
        word = "<script>alert(1)</script>"
        for path in (
            "/history/{}",
            "/api/jobs/{}",
            "/gateway/{}",
            "/v1/{}",
            "/gateway/api/jobs/{}",
            "/api/jobs?limit={}",
        ):
            async with http.get(pool.base + path.format(word)) as answer:
                text = await answer.text()
                assert answer.content_type != "text/html" or word not in text, path


class TestOwnPages:
    @pytest.mark.parametrize(
        "path", ["/gateway/login", "/gateway/health", "/gateway/nothing", "/gateway/api/runners", "/v1/x"]
    )
    async def test_can_be_put_in_no_frame(self, pool, http, path):
        async with http.get(pool.base + path) as answer:
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert answer.headers["Referrer-Policy"] in ("no-referrer", "same-origin")

    async def test_the_frontend_is_left_alone(self, pool, http):
        async with http.get(f"{pool.base}/") as answer:
            assert answer.status == 200
            assert "X-Frame-Options" not in answer.headers


class TestOtherSites:
    @pytest.mark.parametrize("path", ["/ws", "/tn/chat"])
    async def test_open_no_websocket(self, pool, http, path):
        for origin in ("https://elsewhere.example", "null"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await http.ws_connect(pool.base + path, origin=origin)
            assert caught.value.status == 403
        async with http.ws_connect(pool.base + path, origin=pool.base):
            pass

    @pytest.mark.parametrize("path", ["/prompt", "/queue", "/tn/echo", "/gateway/api/tokens", "/v1/runner", "/nothing"])
    async def test_change_nothing(self, pool, http, path):
        async with http.post(pool.base + path, json={}, headers={"Origin": "https://elsewhere.example"}) as answer:
            assert answer.status == 403
            assert answer.headers.get("Access-Control-Allow-Origin") is None

    async def test_a_named_one_may(self, tmp_path, http):
        """Its preflights need no token, since a browser sends none with them."""
        config = {"browsers": {"origins": [STUDIO]}, "access": {"mode": "tokens"}}
        async with running_pool(tmp_path, 1, options=[{"extra_routes": ROUTES}], config=config) as pool:
            asks = {"Origin": STUDIO, "Access-Control-Request-Method": "POST", "Sec-Fetch-Site": "cross-site"}
            for path in ("/prompt", "/tn/echo", "/gateway/api/tokens", "/v1/runner"):
                async with http.options(pool.base + path, headers=asks) as answer:
                    assert answer.status == 200
                    assert answer.headers["Access-Control-Allow-Origin"] == STUDIO
                async with http.post(pool.base + path, headers={"Origin": STUDIO}) as answer:
                    assert answer.status == 401
                    assert answer.headers["Access-Control-Allow-Origin"] == STUDIO
                async with http.options(
                    pool.base + path, headers=asks | {"Origin": "https://elsewhere.example"}
                ) as answer:
                    assert answer.status == 403
