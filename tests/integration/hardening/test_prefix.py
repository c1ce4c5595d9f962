"""The whole gateway under a path."""

import aiohttp
import pytest
from aiohttp import hdrs
from support.client import Client
from support.graphs import save_graph
from support.pools import running_pool


@pytest.fixture
async def pool(tmp_path):
    async with running_pool(tmp_path, 1, config={"server": {"port": 0, "prefix": "/a/comfy"}}) as running:
        assert running.base.endswith("/a/comfy")
        yield running


def root(pool):
    return pool.base.removesuffix("/a/comfy")


async def test_a_job_runs_and_its_picture_comes(pool):
    async with Client.connected(pool.base) as client:
        job = await client.submit(save_graph(1))
        await client.hear_end(job)
        assert len(await client.files(job)) == 1
        rows = await client.get("/api/jobs?status=completed")
        assert [row["id"] for row in rows["jobs"]] == [job]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/prompt",
        "/api/prompt",
        "/ws",
        "/gateway/metrics",
        "/a",
        "/a/",
        "/a/comfyx",
        "/a/comfy%2Fprompt",
        "//a/comfy/",
    ],
)
async def test_other_paths_are_404(pool, http, path):
    async with http.get(aiohttp.client.URL(root(pool) + path, encoded=True)) as answer:
        assert (answer.status, await answer.read()) == (404, b"")
    async with http.post(root(pool) + "/prompt", json={}) as answer:
        assert answer.status == 404


async def test_health_is_there_too(pool, http):
    for base in (root(pool), pool.base):
        for path in ("/gateway/health", "/gateway/ready"):
            async with http.get(base + path) as answer:
                assert answer.status == 200


async def test_the_bare_prefix_leads_to_its_page(pool, http):
    async with http.get(f"{pool.base}?x=1", allow_redirects=False) as answer:
        assert (answer.status, answer.headers[hdrs.LOCATION]) == (308, "/a/comfy/?x=1")
    async with http.post(pool.base, allow_redirects=False) as answer:
        assert answer.status == 404


async def test_names_with_slashes_stay_whole(pool, http):
    url = aiohttp.client.URL(f"{pool.base}/api/userdata/workflows%2Fa%20b.json", encoded=True)
    async with http.post(url, json={"a": 1}) as answer:
        assert (answer.status, await answer.json()) == (200, "workflows/a b.json")
    async with http.get(url) as answer:
        assert await answer.json() == {"a": 1}
