"""What a client proves itself with stays with the gateway, however it was sent and whatever is asked for; what a runner
is reached with goes to that runner only."""

from __future__ import annotations

import base64
import json

import aiohttp
import pytest
from aiohttp import web
from support import nodes
from support.client import Client
from support.graphs import invert_graph, save_graph
from support.owners import guarded_pool, token_of, upload
from support.pools import running_pool
from yarl import URL


async def headers_of(request: web.Request) -> web.Response:
    """What arrived: the path with its query, and the headers."""
    return web.json_response({"path": request.rel_url.raw_path_qs, "headers": list(request.headers.items())})


async def wants_a_password(_: web.Request) -> web.Response:
    """As a proxy in front of a runner answers."""
    return web.Response(
        status=401,
        headers={
            "WWW-Authenticate": 'Basic realm="inside"',
            "Strict-Transport-Security": "max-age=1",
            "Clear-Site-Data": '"*"',
            "Set-Cookie": "a=b",
            "X-Kept": "1",
        },
    )


async def elsewhere(request: web.Request) -> web.Response:
    """A redirect to another host."""
    raise web.HTTPFound(request.query["to"])


ROUTES = (
    *nodes.ROUTES,
    web.get("/tn/headers", headers_of),
    web.get("/tn/password", wants_a_password),
    web.get("/tn/elsewhere", elsewhere),
)


def noted(pool) -> list[str]:
    """All that runners are sent from now on, but for bodies: URLs and headers."""
    seen: list[str] = []
    for runner in pool.rooms.pool:
        session = runner.client.session
        request = session._request

        async def heard(method, url, request=request, **more):
            seen.append(f"{method} {url} {dict(more.get('headers') or {})}")
            return await request(method, url, **more)

        session._request = heard
    return seen


@pytest.mark.parametrize("how", ["bearer", "key", "basic", "cookie"])
async def test_a_token_reaches_no_runner(tmp_path, how):
    async with guarded_pool(tmp_path, 2, options=[{"extra_routes": ROUTES}] * 2) as pool:
        token = await token_of(pool, "anna")
        basic = base64.b64encode(f"anna:{token}".encode()).decode()
        headers = {
            "bearer": {"Authorization": f"Bearer {token}"},
            "key": {"X-API-Key": token},
            "basic": {"Authorization": f"Basic {basic}"},
            "cookie": {},
        }[how]
        seen = noted(pool)
        async with aiohttp.ClientSession(headers=headers, cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
            if how == "cookie":
                async with http.post(f"{pool.base}/gateway/login", data={"token": token}) as answer:
                    assert answer.ok
            client = Client(pool.base, http, "tab")
            async with http.ws_connect(f"{pool.base}/ws?clientId=tab") as client.socket:
                await upload(client, b"picture", "a.png")
                prompt_id = await client.submit(save_graph(1))
                await client.hear_end(prompt_id)
                await client.files(prompt_id)
                await client.submit(invert_graph("a.png"))
                await pool.until(lambda: not pool.rooms.jobs.registry.taken)
            odd = {"X-Custom": f"my {token}", "Comfy-User": "me"}
            for query in (f"token={token}&a=1%2F2", f"a=1%2F2&api_key={token}"):
                async with http.get(URL(f"{pool.base}/tn/headers?{query}", encoded=True), headers=odd) as answer:
                    told = await answer.json()
                assert told["path"] == "/tn/headers?a=1%2F2"
                assert ["Comfy-User", "me"] in told["headers"]
            async with http.get(f"{pool.base}/models/checkpoints?token={token}") as answer:
                assert answer.status == 200
            async with http.ws_connect(f"{pool.base}/tn/chat?token={token}&b=2") as chat:
                assert json.loads((await chat.receive()).data)["path"] == "/tn/chat?b=2"
        assert len(seen) > 5
        text = "\n".join(seen)
        assert token not in text
        assert basic not in text
        assert "cookie" not in text.lower()


async def test_a_websockets_token_is_in_its_query_alone(tmp_path):
    async with guarded_pool(tmp_path, 1, options=[{"extra_routes": ROUTES}]) as pool, aiohttp.ClientSession() as http:
        token = await token_of(pool, "anna")
        seen = noted(pool)
        async with http.ws_connect(f"{pool.base}/tn/chat?b=2&token={token}") as chat:
            assert json.loads((await chat.receive()).data)["path"] == "/tn/chat?b=2"
        assert token not in "\n".join(seen)


async def test_a_query_without_a_token_stays_as_it_was_sent(tmp_path):
    async with running_pool(tmp_path, 1, options=[{"extra_routes": ROUTES}]) as pool, aiohttp.ClientSession() as http:
        for query in ("token=mine&a=%2F+b", "a=[output]", "a&b=", "cgw_=1", "a=cgw_short"):
            async with http.get(URL(f"{pool.base}/tn/headers?{query}", encoded=True)) as answer:
                assert (await answer.json())["path"] == f"/tn/headers?{query}"


async def test_what_a_runner_says_of_its_own_site_reaches_nobody(tmp_path):
    async with (
        running_pool(tmp_path, 1, options=[{"extra_routes": ROUTES}]) as pool,
        aiohttp.ClientSession() as http,
        http.get(f"{pool.base}/tn/password") as answer,
    ):
        assert (answer.status, answer.headers["X-Kept"]) == (401, "1")
        for name in ("WWW-Authenticate", "Strict-Transport-Security", "Clear-Site-Data", "Set-Cookie"):
            assert name not in answer.headers


async def test_a_redirect_is_not_followed(tmp_path):
    """Neither by HTTP nor by a websocket: the other host would get the runner's headers."""
    asked: list[web.Request] = []

    async def listen(request: web.Request) -> web.Response:
        asked.append(request)
        return web.Response()

    outside = web.Application()
    outside.router.add_route("*", "/{path:.*}", listen)
    runner = web.AppRunner(outside)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host = f"http://127.0.0.1:{runner.addresses[0][1]}/x"
    secret = {"headers": {"X-Runner-Secret": "s"}}
    try:
        async with (
            running_pool(tmp_path, 1, options=[{"extra_routes": ROUTES}], runners=secret) as pool,
            aiohttp.ClientSession() as http,
        ):
            url = f"{pool.base}/tn/elsewhere"
            async with http.get(url, params={"to": host}, allow_redirects=False) as answer:
                assert (answer.status, answer.headers["Location"]) == (302, host)
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await http.ws_connect(f"{url}?to={host}")
            async with http.get(f"{pool.base}/tn/headers") as answer:
                assert ["X-Runner-Secret", "s"] in (await answer.json())["headers"]
        assert not asked
    finally:
        await runner.cleanup()
