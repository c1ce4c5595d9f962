"""HTTP towards a runner: headers, and failures told apart by whether the request may have been carried out."""

import asyncio

import pytest
from aiohttp import web

from gateway.config import AddressesConfig
from gateway.redaction import redact_text
from gateway.runners.addresses import EndpointRules
from gateway.runners.client import RunnerClient
from gateway.runners.errors import RunnerAmbiguous, RunnerMisanswered, RunnerUnreachable


class Server:
    """Answers as told; keeps what it was asked."""

    def __init__(self):
        self.requests = []
        self.forever = asyncio.Event()
        self.url = ""

    async def handle(self, request):
        self.requests.append((request.method, request.raw_path, request.headers.copy(), await request.read()))
        match request.path:
            case "/hang":
                await self.forever.wait()
            case "/cut":
                request.transport.abort()
            case "/half":
                answer = web.StreamResponse(headers={"Content-Length": "100"})
                await answer.prepare(request)
                await answer.write(b"half")
                request.transport.abort()
                return answer
            case "/moved":
                return web.Response(status=302, headers={"Location": "http://127.0.0.1:1/elsewhere"})
            case "/moved_socket":
                return web.Response(status=307, headers={"Location": f"{self.url}/elsewhere"})
            case "/cookie":
                return web.Response(headers={"Set-Cookie": "session=1; Path=/"})
            case "/unauthorised":
                return web.Response(status=401)
            case "/text":
                return web.Response(text="<html>")
        return web.json_response({"ok": True})


@pytest.fixture
async def server():
    played = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", played.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    played.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield played
    played.forever.set()
    await runner.cleanup()


@pytest.fixture
async def client(server):
    made = RunnerClient("gpu-0", server.url, {"X-Key": "secret"})
    yield made
    await made.close()


async def test_the_runners_headers_go_with_every_request(client, server):
    assert (await client.get_json("/queue")) == {"ok": True}
    await client.request("POST", "/prompt", json={"a": 1}, headers={"X-More": "1"})
    async with client.stream("GET", "/view"):
        pass
    await client.upload(b"bytes", filename="a.png", subfolder="", type="input")
    assert [headers["X-Key"] for _, _, headers, _ in server.requests] == ["secret"] * 4
    assert server.requests[1][2]["X-More"] == "1"
    assert server.requests[1][3] == b'{"a":1}'


async def test_the_runners_headers_are_masked_in_logs():
    RunnerClient("gpu-0", "http://gpu.example", {"X-Anything": "hunter2hunter2"})
    assert redact_text("it said hunter2hunter2") == "it said [redacted]"


async def test_refused_is_certainly_not_delivered(unused_tcp_port):
    client = RunnerClient("gpu-0", f"http://127.0.0.1:{unused_tcp_port}", {})
    with pytest.raises(RunnerUnreachable) as caught:
        await client.request("POST", "/prompt", json={})
    assert caught.value.runner == "gpu-0"
    with pytest.raises(RunnerUnreachable):
        async with client.stream("GET", "/view"):
            pass
    await client.close()


async def test_a_name_that_leads_nowhere_is_certainly_not_delivered():
    client = RunnerClient("gpu-0", "http://no-such-host.invalid:8188", {})
    with pytest.raises(RunnerUnreachable):
        await client.get_json("/queue")
    await client.close()


@pytest.mark.parametrize("path", ["/hang", "/cut", "/half"])
async def test_sent_without_a_whole_answer_is_ambiguous(client, path):
    with pytest.raises(RunnerAmbiguous):
        await client.request("POST", path, json={}, timeout=0.2)


async def test_a_stream_that_breaks_off_is_an_error_of_the_runner(client):
    with pytest.raises(RunnerAmbiguous):
        async with client.stream("GET", "/half") as answer:
            async for _ in answer.content.iter_any():
                pass


async def test_refusals_are_answers_of_a_request_and_errors_of_get_json(client):
    assert (await client.request("POST", "/unauthorised", json={})).status == 401
    with pytest.raises(RunnerMisanswered) as caught:
        await client.get_json("/unauthorised")
    assert caught.value.status == 401
    with pytest.raises(RunnerMisanswered, match="no JSON"):
        await client.get_json("/text")


async def test_redirects_are_not_followed(client):
    """The runner's headers would go wherever it points."""
    assert (await client.request("GET", "/moved")).status == 302


async def test_nor_are_those_of_a_websocket(client, server):
    with pytest.raises(RunnerMisanswered, match="redirect") as caught:
        async with client.tunnel("/moved_socket", headers={}):
            pass
    assert caught.value.status == 307
    assert [path for _, path, _, _ in server.requests] == ["/moved_socket"]


async def test_rules_of_endpoints_hold_for_every_connection(server):
    rules = EndpointRules(AddressesConfig(deny=("loopback",)))
    client = RunnerClient("gpu-0", server.url, {}, rules=rules)
    with pytest.raises(RunnerUnreachable, match="denied"):
        await client.get_json("/queue")
    with pytest.raises(RunnerUnreachable, match="denied"):
        async with client.tunnel("/ws", headers={}):
            pass
    assert server.requests == []
    await client.close()


async def test_paths_travel_as_they_are_encoded(client, server):
    await client.request("GET", "/userdata/a%2Fb%20c")
    assert server.requests[0][1] == "/userdata/a%2Fb%20c"


async def test_an_endpoint_may_have_a_path(server):
    client = RunnerClient("gpu-0", f"{server.url}/comfy", {})
    await client.get_json("/queue")
    assert server.requests[0][1] == "/comfy/queue"
    await client.close()


async def test_cookies_of_a_runner_are_not_kept(client, server):
    assert "Set-Cookie" in (await client.request("GET", "/cookie")).headers
    await client.request("GET", "/queue")
    assert "Cookie" not in server.requests[1][2]


async def test_an_error_of_the_caller_is_left_as_it_is(client):
    with pytest.raises(KeyError):
        async with client.stream("GET", "/view"):
            raise KeyError("the caller's own")
