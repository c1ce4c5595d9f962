"""``/v1/user``, and what holds for every path under /v1."""

import re

import pytest
from support.client import Client
from support.pools import running_pool
from support.v1 import TIME

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture
async def client(tmp_path):
    async with running_pool(tmp_path, 1) as pool, Client.connected(pool.base) as client:
        yield client


async def test_the_one_owner_has_a_user_that_stays_the_same(client):
    user = await client.get("/v1/user")
    assert UUID.fullmatch(user.pop("id"))
    assert TIME.fullmatch(user.pop("created_at"))
    assert TIME.fullmatch(user.pop("updated_at"))
    assert user == {"name": "anonymous", "email": "", "deleted": False, "tier": "enterprise", "provider": "github"}


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nothing", "/v1/user/more"])
async def test_an_unknown_path_is_404_in_the_form_of_this_api(client, path):
    assert await client.get(path, 404) == {"status": 404, "message": "requested entity not found"}


async def test_another_method_is_405_and_says_which_there_are(client):
    async with client.http.delete(client.base + "/v1/user") as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET, HEAD"
        assert await answer.json() == {"status": 405, "message": "DELETE is not allowed here"}


async def test_refused_before_its_route_it_is_in_the_form_of_this_api(client):
    async with client.http.get(client.base + "/v1/user", headers={"Sec-Fetch-Site": "cross-site"}) as answer:
        assert answer.status == 403
        assert await answer.json() == {"status": 403, "message": "forbidden"}
