"""What ``/v1`` refuses: too many requests, too large ones, and all without a token where one is asked for."""

import asyncio

import pytest

from gateway.access.token import Token

from .conftest import Api, gateway_api


async def test_too_many_requests_are_429_and_then_it_cools_down(tmp_path):
    limit = {"requests": 3, "per_seconds": 1, "cooldown_seconds": 0.3}
    async with gateway_api(tmp_path, v1=limit) as api:
        for _ in range(3):
            await api.get("/v1/user")
        assert await api.get("/v1/user", 429) == "rate limit exceeded: 3 requests in 1 seconds"
        assert api.last.headers["Retry-After"] == "1"
        assert await api.get("/v1/nothing", 429)
        async with api.http.get(api.base + "/queue") as answer:
            assert answer.status == 200
        async with asyncio.timeout(20):
            while True:
                async with api.http.get(api.base + "/v1/user") as answer:
                    if answer.status == 200:
                        break
                await asyncio.sleep(0.05)


async def test_urls_of_outputs_are_not_counted(tmp_path):
    async with gateway_api(tmp_path, v1={"requests": 1, "per_seconds": 3600}) as api:
        output = "/v1/output/00000000-0000-4000-8000-000000000000/00000000-0000-4000-8000-000000000001/a.png"
        for _ in range(3):
            await api.get(output, 403)


@pytest.fixture
async def guarded(tmp_path):
    async with gateway_api(tmp_path, config={"access": {"mode": "tokens"}}) as api:
        yield api


@pytest.mark.parametrize("path", ["/v1/user", "/v1/runner", "/v1/workflow", "/v1/template", "/v1/nothing"])
async def test_without_a_token_it_is_401(guarded, path):
    assert await guarded.get(path, 401)
    assert await guarded.call("GET", path, 401, headers={"Authorization": "Bearer cgw_" + "x" * 43})


async def with_token(api, *scopes, owner="ada"):
    """The API for somebody who has a token with these scopes."""
    token = Token(id="", name="test", owner=owner, scopes=frozenset(scopes), created_at=0)
    _, secret = await api.pool.rooms.access.tokens.create(token)
    return Api(api.base, api.http, secret)


async def test_the_user_is_the_tokens_owner(guarded):
    ada, bob = await with_token(guarded, "run"), await with_token(guarded, "run", owner="bob")
    assert (await ada.get("/v1/user"))["name"] == "ada"
    assert (await ada.get("/v1/user"))["id"] != (await bob.get("/v1/user"))["id"]


async def test_runners_need_the_scope_manage(guarded):
    ada, operator = await with_token(guarded, "run"), await with_token(guarded, "run", "manage")
    assert await ada.get("/v1/runner", 403) == "This needs a token with the scope 'manage'"
    runner = (await operator.get("/v1/runner"))["runners"][0]
    for method, more in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/interrupt"), ("GET", "/history")):
        assert "manage" in await ada.call(method, f"/v1/runner/{runner['id']}{more}", 403)
    body = {"name": "x", "endpoint": "http://10.0.0.1"}
    assert "manage" in await ada.post("/v1/runner", body, 403)
    made = await operator.post("/v1/runner", body, 201)
    assert made["user_id"] == (await operator.get("/v1/user"))["id"] != runner["user_id"]
