"""What pages of other sites may do, and what browsers are told of it."""

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gateway.access.addresses import PROXIES, Proxies
from gateway.api.cross_origin import Origins, same_site_only
from gateway.config import BrowsersConfig

NAMED = "https://studio.example"


class Site:
    """A server with the rules, which answers 299 where a request gets past them."""

    def __init__(self, client):
        self.client = client

    async def ask(self, headers, method="GET", path="/prompt"):
        async with self.client.request(method, path, headers=headers, allow_redirects=False) as answer:
            await answer.read()
            return answer

    async def passed(self, headers, **more):
        return (await self.ask(headers, **more)).status


@pytest.fixture
async def site(request):
    browsers, trusted = getattr(request, "param", ({}, ()))

    async def handler(_):
        return web.Response(status=299, headers={"X-Gateway-Job": "j"})

    app = web.Application(middlewares=[same_site_only])
    app[PROXIES] = Proxies(trusted)
    Origins(BrowsersConfig(**browsers)).attach(app)
    app.router.add_route("*", "/{path:.*}", handler)
    async with TestClient(TestServer(app)) as client:
        yield Site(client)


def with_origins(*origins, **more):
    return pytest.mark.parametrize("site", [({"origins": origins, **more}, ())], indirect=True)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8188", "http://127.0.0.1:8188"),
        ("localhost:8188", "http://LOCALHOST:8188"),
        ("[::1]:8188", "http://[::1]:8188"),
        ("127.0.0.1:8188", "http://127.0.0.1"),  # browsers that send no port
        ("127.0.0.1", "http://127.0.0.1:8188"),
        ("gpu.example", "https://gpu.example"),
        ("gpu.example", "https://gpu.example:8443"),  # a proxy that passes the host without its port
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_the_same_host(site, host, origin, method):
    assert await site.passed({"Host": host, "Origin": origin}, method=method) == 299


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
async def test_another_host_at_a_loopback_one(site, host, origin):
    """As ComfyUI: whatever it asks."""
    assert await site.passed({"Host": host, "Origin": origin}) == 403
    assert await site.passed({"Host": host, "Origin": origin}, method="OPTIONS") == 403


@pytest.mark.parametrize("origin", ["http://elsewhere.example", "null", "http://gpu.example:9999", "junk"])
async def test_another_host_may_change_nothing(site, origin):
    headers = {"Host": "gpu.example:8188", "Origin": origin}
    assert await site.passed(headers) == 299  # its page cannot read the answer
    assert await site.passed(headers, method="POST") == 403
    assert await site.passed(headers, method="DELETE") == 403
    assert await site.passed(headers | {"Upgrade": "websocket"}) == 403


async def test_a_page_of_a_file_reads_nothing_and_changes_nothing(site):
    """Its origin is `null`, as that of a sandboxed frame."""
    headers = {"Host": "127.0.0.1:8188", "Origin": "null"}
    assert await site.passed(headers) == 299
    assert await site.passed(headers, method="POST") == 403


async def test_a_browser_that_says_same_origin_is_believed(site):
    """A proxy may put its own name for the gateway in the place of the host; a page cannot set this header."""
    headers = {"Host": "gateway:8188", "Origin": NAMED, "Sec-Fetch-Site": "same-origin"}
    assert await site.passed(headers, method="POST") == 299
    assert await site.passed(headers | {"Sec-Fetch-Site": "same-site"}, method="POST") == 403


async def test_what_is_no_browser_passes(site):
    assert await site.passed({"Host": "127.0.0.1:8188"}, method="POST") == 299
    assert await site.passed({"Host": "gpu.example", "Upgrade": "websocket"}) == 299


async def test_options_is_answered_everywhere(site):
    assert await site.passed({"Host": "127.0.0.1"}, method="OPTIONS", path="/no/such") == 200


async def test_only_a_link_to_the_page_comes_from_another_site(site):
    cross = {"Host": "gpu.example", "Sec-Fetch-Site": "cross-site"}
    assert await site.passed(cross) == 403
    assert await site.passed(cross, path="/") == 403
    assert await site.passed(cross | {"Sec-Fetch-Mode": "navigate"}, path="/") == 299
    assert await site.passed(cross | {"Sec-Fetch-Mode": "navigate"}, path="/prompt") == 403
    assert await site.passed(cross | {"Sec-Fetch-Mode": "navigate"}, path="/", method="POST") == 403


CROSS = {"Host": "gpu.example", "Origin": NAMED, "Sec-Fetch-Site": "cross-site"}
PREFLIGHT = CROSS | {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type,x-api-key",
}


async def test_nobody_is_allowed_by_default(site):
    answer = await site.ask(PREFLIGHT | {"Sec-Fetch-Site": "same-site"}, method="OPTIONS")
    assert not [name for name in answer.headers if name.startswith("Access-Control-")]
    assert "Vary" not in answer.headers


@with_origins(NAMED)
class TestANamedOrigin:
    async def test_may_call_and_read(self, site):
        answer = await site.ask(CROSS | {"Cookie": "session=1"}, method="POST")
        assert answer.status == 299
        assert answer.headers["Access-Control-Allow-Origin"] == NAMED
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert "X-Gateway-Job" in answer.headers["Access-Control-Expose-Headers"]
        assert answer.headers["Vary"] == "Origin"

    async def test_may_open_a_websocket(self, site):
        assert await site.passed(CROSS | {"Upgrade": "websocket"}) == 299

    @pytest.mark.parametrize("path", ["/prompt", "/any/route/of/a/node", "/"])
    async def test_has_its_preflights_answered(self, site, path):
        answer = await site.ask(PREFLIGHT, method="OPTIONS", path=path)
        assert answer.status == 200
        assert answer.headers["Access-Control-Allow-Origin"] == NAMED
        assert answer.headers["Access-Control-Allow-Methods"] == "POST"
        assert set(answer.headers["Access-Control-Allow-Headers"].split(",")) == {"CONTENT-TYPE", "X-API-KEY"}

    async def test_may_not_use_any_method(self, site):
        assert await site.passed(PREFLIGHT | {"Access-Control-Request-Method": "TRACE"}, method="OPTIONS") == 403

    @pytest.mark.parametrize(
        "origin", ["https://studio.example.evil", "http://studio.example", "https://studio.example:8443", "null"]
    )
    async def test_is_that_one_only(self, site, origin):
        answer = await site.ask(CROSS | {"Origin": origin}, method="POST")
        assert answer.status == 403
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert answer.headers["Vary"] == "Origin"

    async def test_reads_refusals_too(self, site):
        answer = await site.ask(PREFLIGHT | {"Access-Control-Request-Method": "TRACE"}, method="OPTIONS")
        assert answer.status == 403


@with_origins(NAMED, credentials=False)
async def test_credentials_can_be_kept_from_them(site):
    assert "Access-Control-Allow-Credentials" not in (await site.ask(CROSS)).headers
    assert "Access-Control-Allow-Credentials" not in (await site.ask(PREFLIGHT, method="OPTIONS")).headers


@with_origins("*")
class TestAnyOrigin:
    async def test_may_call(self, site):
        answer = await site.ask(CROSS | {"Authorization": "Bearer x"}, method="POST")
        assert answer.status == 299
        assert answer.headers["Access-Control-Allow-Origin"] == NAMED
        assert "Access-Control-Allow-Credentials" not in answer.headers

    @pytest.mark.parametrize("ambient", [{"Cookie": "session=1"}, {"Authorization": "Basic dTpw"}])
    async def test_may_not_use_what_the_browser_adds_by_itself(self, site, ambient):
        assert await site.passed(CROSS | ambient, method="POST") == 403


PROXY = pytest.mark.parametrize("site", [({}, ("127.0.0.1", "::1"))], indirect=True)


@PROXY
async def test_the_host_is_the_one_that_a_trusted_proxy_tells(site):
    headers = {"Host": "127.0.0.1:8188", "X-Forwarded-Host": "studio.example", "Origin": NAMED}
    assert await site.passed(headers, method="POST") == 299
    assert await site.passed(headers | {"Origin": "https://elsewhere.example"}, method="POST") == 403


async def test_and_nobody_elses(site):
    headers = {"Host": "127.0.0.1:8188", "X-Forwarded-Host": "studio.example", "Origin": NAMED}
    assert await site.passed(headers, method="POST") == 403
