"""Requests for a name that is not the gateway's: a page whose name was made to resolve to its address (DNS rebinding)
is same-origin for its browser, and gets nothing but 421."""

import aiohttp
import pytest
from support.graphs import save_graph
from support.nodes import ROUTES
from support.pools import running_pool
from support.raw import Connection, ask

OWN = {"Host": "comfy.example:8188"}
REBOUND = {"Host": "evil.example:8188", "Origin": "http://evil.example:8188", "Sec-Fetch-Site": "same-origin"}
PATHS = ["/", "/queue", "/api/queue", "/prompt", "/tn/echo", "/gateway/api/runners", "/gateway/health", "/nothing"]


@pytest.fixture
async def named(tmp_path):
    """A gateway that has a name, and asks for no tokens."""
    config = {"server": {"port": 0, "allowed_hosts": ["comfy.example"], "trusted_proxies": ["127.0.0.2"]}}
    async with running_pool(tmp_path / "data", 1, options=[{"extra_routes": ROUTES}], config=config) as running:
        yield running


@pytest.mark.parametrize("path", PATHS)
async def test_get_421_in_comfyuis_form(named, http, path):
    for method in ("GET", "POST", "OPTIONS"):
        async with http.request(method, named.base + path, headers=REBOUND) as answer:
            assert answer.status == 421
            told = await answer.json()
            assert (told["error"]["type"], told["node_errors"]) == ("misdirected_request", {})
            assert "allowed_hosts" in told["error"]["message"]
            assert "evil" not in await answer.text()


async def test_get_421_in_the_form_of_v1(named, http):
    async with http.get(f"{named.base}/v1/workflow", headers=REBOUND) as answer:
        assert answer.status == 421
        assert (await answer.json()).keys() == {"status", "message"}


@pytest.mark.parametrize("path", ["/ws", "/api/ws", "/tn/chat"])
async def test_open_no_websocket(named, http, path):
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await http.ws_connect(named.base + path, headers=REBOUND)
    assert caught.value.status == 421
    async with http.ws_connect(named.base + path, headers=OWN):
        pass


async def test_reach_no_runner_and_make_no_job(named, http):
    for headers, status, known in ((REBOUND, 421, 0), (OWN, 200, 1)):
        async with http.post(f"{named.base}/prompt", headers=headers, json={"prompt": save_graph(1)}) as answer:
            assert answer.status == status
        async with http.get(f"{named.base}/api/jobs") as answer:
            assert len((await answer.json())["jobs"]) == known


async def test_its_own_name_and_addresses_are_answered(named, http):
    for headers in (OWN, {"Host": "127.0.0.1"}, {"Host": "localhost:1"}, {"Host": "[::1]:8188"}):
        for path in ("/queue", "/gateway/health", "/gateway/ready"):
            async with http.get(named.base + path, headers=headers) as answer:
                assert answer.status == 200


async def test_a_probe_without_a_host_is_answered(named):
    async with Connection.to(named.base) as connection:
        await connection.send(b"GET /gateway/health HTTP/1.0\r\n\r\n")
        assert (await connection.answer()).status == 200


async def test_a_strangers_forwarded_host_does_not_count(named):
    forwarded = "X-Forwarded-Host: comfy.example\r\n"
    head = f"GET /queue HTTP/1.1\r\nHost: evil.example\r\n{forwarded}\r\n"
    async with Connection.to(named.base) as connection:
        await connection.send(head.encode())
        assert (await connection.answer()).status == 421


async def test_behind_a_trusted_proxy_the_forwarded_host_counts(tmp_path, http):
    config = {"server": {"port": 0, "allowed_hosts": ["comfy.example"], "trusted_proxies": ["127.0.0.1"]}}
    async with running_pool(tmp_path, 0, config=config) as pool:
        for headers, status in (
            ({"Host": "inner", "X-Forwarded-Host": "comfy.example"}, 200),
            ({"Host": "comfy.example", "X-Forwarded-Host": "evil.example"}, 421),
        ):
            async with http.get(f"{pool.base}/queue", headers=headers) as answer:
                assert answer.status == status


async def test_without_names_every_host_is_answered(pool):
    assert (await ask(pool.base, "/queue", headers="X-A: 1\r\n")).status == 200
    async with aiohttp.ClientSession() as http, http.get(f"{pool.base}/queue", headers=REBOUND) as answer:
        assert answer.status == 200
