"""A Content-Security-Policy that the runners were told to send, on what the gateway answers itself."""

import pytest
from support.client import Client
from support.pools import running_pool

BLOCKED, FREE = {"disable_api_nodes": True}, {"disable_api_nodes": False}


async def policies(tmp_path, options):
    async with running_pool(tmp_path, len(options), options=options) as pool, Client.connected(pool.base) as client:
        found = []
        for path in ("/", "/queue", "/settings", "/gateway/health"):
            async with client.http.get(pool.base + path) as answer:
                found.append(answer.headers.get("Content-Security-Policy", ""))
        return found


async def test_it_is_on_what_the_gateway_answers_in_their_place(tmp_path):
    page, queue, settings, own = await policies(tmp_path, [BLOCKED, BLOCKED])
    assert page == queue == settings
    assert page.startswith("default-src 'self';")
    assert own != page, "the gateway's own pages have their own"


@pytest.mark.parametrize("options", [[FREE, BLOCKED], [BLOCKED, FREE], [BLOCKED, {"version": "0.3.64"}]])
async def test_it_is_not_where_a_runner_has_none(tmp_path, options):
    *native, _ = await policies(tmp_path, options)
    assert native == ["", "", ""]
