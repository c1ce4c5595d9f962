"""What is asked of several runners that differ, told as one's."""

from __future__ import annotations

import pytest
from support.client import Client
from support.nodes import answering, telling
from support.pools import running_pool


def options(number):
    """gpu-0 to gpu-2, whose custom nodes differ."""
    listed = {
        "/extensions": [f"/extensions/node-{number}/a.js", "/extensions/shared/both.js"],
        "/i18n": {"en": {"nodeDefs": {f"Node{number}": "x", "Shared": f"said by gpu-{number}"}}},
        "/workflow_templates": {f"pack-{number}": ["one"], "shared": [f"of-{number}", "both"]},
    }
    files = [
        telling(f"/extensions/node-{number}/{{file:.*}}", f"gpu-{number}"),
        telling("/extensions/shared/{file:.*}", f"gpu-{number}"),
        telling(f"/workflow_templates/pack-{number}/{{file:.*}}", f"gpu-{number}"),
        telling(f"/workflow_templates/shared/of-{number}.json", f"gpu-{number}"),
    ]
    return {
        "version": "0.3.64" if number == 2 else "0.33.0",
        "checkpoints": [f"model-{number}.safetensors", "shared.safetensors"],
        "models": {"loras": [f"lora-{number}.safetensors"]},
        "extra_routes": [*answering(listed, name=f"gpu-{number}"), *files],
    }


@pytest.fixture
async def pool(tmp_path):
    async with running_pool(tmp_path, 3, options=[options(number) for number in range(3)]) as pool:
        yield pool


@pytest.fixture
async def client(pool):
    async with Client.connected(pool.base) as client:
        yield client


async def text(client, path):
    async with client.http.get(client.base + path) as answer:
        return answer.status, await answer.text()


async def test_lists_are_joined_in_the_runners_order(client):
    assert await client.get("/models/checkpoints") == [
        "model-0.safetensors",
        "shared.safetensors",
        "model-1.safetensors",
        "model-2.safetensors",
    ]
    assert await client.get("/api/models/loras") == [f"lora-{number}.safetensors" for number in range(3)]
    folders = await client.get("/models")
    assert "optical_flow" in folders  # what only the newer ones have
    assert len(folders) == len(set(folders))


async def test_i18n_is_merged_deeply(client):
    texts = (await client.get("/i18n"))["en"]["nodeDefs"]
    assert texts == {"Node0": "x", "Node1": "x", "Node2": "x", "Shared": "said by gpu-0"}


async def test_extensions_come_from_the_runner_that_listed_them(client):
    own = [script for script in await client.get("/extensions") if "/core/" not in script]
    assert own == [
        "/extensions/node-0/a.js",
        "/extensions/shared/both.js",
        "/extensions/node-1/a.js",
        "/extensions/node-2/a.js",
    ]
    assert await text(client, "/extensions/node-2/style.css") == (200, "gpu-2")
    assert await text(client, "/extensions/shared/both.js") == (200, "gpu-0")


async def test_an_extension_is_found_without_a_listing_before(client):
    assert await text(client, "/extensions/node-1/deep/er.css") == (200, "gpu-1")


async def test_an_extension_comes_from_another_that_listed_it_when_its_runner_is_gone(pool, client):
    await client.get("/extensions")
    await pool.simulator("gpu-0").die()
    await pool.until(lambda: len(pool.rooms.pool.ready()) == 2)
    assert await text(client, "/extensions/shared/both.js") == (200, "gpu-1")


async def test_templates_are_joined_by_module(client):
    assert await client.get("/workflow_templates") == {
        "pack-0": ["one"],
        "shared": ["of-0", "both", "of-1", "of-2"],
        "pack-1": ["one"],
        "pack-2": ["one"],
    }
    assert await text(client, "/api/workflow_templates/pack-2/one.json") == (200, "gpu-2")
    assert await text(client, "/api/workflow_templates/shared/of-1.json") == (200, "gpu-1")


async def test_model_folders_and_where_models_lie(pool, client):
    rows = {row["name"]: row for row in await client.get("/experiment/models")}
    bases = [simulator.folders.base for simulator in pool.simulators]
    folders = rows["checkpoints"]["folders"]
    assert folders == [str(base / folder) for base in bases for folder in ("models/checkpoints", "output/checkpoints")]
    models = {row["name"]: row["pathIndex"] for row in await client.get("/api/experiment/models/checkpoints")}
    assert folders[models["model-1.safetensors"]] == str(bases[1] / "models/checkpoints")
    assert models["shared.safetensors"] == 0


async def test_a_preview_comes_from_the_runner_that_listed_the_model(tmp_path):
    path = "/experiment/models/preview/checkpoints/0/model-1.safetensors"
    each = [options(0), options(1)]
    each[1]["extra_routes"].append(telling(path, "picture of gpu-1"))
    async with running_pool(tmp_path, 2, options=each) as pool, Client.connected(pool.base) as client:
        merged_path = "/api/experiment/models/preview/checkpoints/2/model-1.safetensors"
        assert await text(client, merged_path) == (200, "picture of gpu-1")
        assert (await text(client, "/experiment/models/preview/checkpoints/0/model-1.safetensors"))[0] == 404


async def test_metadata_comes_from_a_runner_that_has_the_file(tmp_path):
    each = [{}, {"extra_routes": answering({"/view_metadata/loras": {"ss_tag": "x"}})}]
    async with running_pool(tmp_path, 2, options=each) as pool, Client.connected(pool.base) as client:
        assert await client.get("/view_metadata/loras", filename="a.safetensors") == {"ss_tag": "x"}


async def test_what_only_newer_runners_know(tmp_path):
    versions = [{"version": "0.3.64"}, {"version": "0.33.0"}]
    async with running_pool(tmp_path, 2, options=versions) as pool, Client.connected(pool.base) as client:
        assert await client.get("/global_subgraphs") == {}  # the primary's
        assert "ResizeImagesByLongerEdge" in await client.get("/node_replacements")
        assert await client.get("/global_subgraphs/unknown") is None


async def test_runners_that_fail_are_left_out(pool, client):
    pool.simulator("gpu-1").faults.status = 500
    assert "model-1.safetensors" not in await client.get("/models/checkpoints")
    assert "model-2.safetensors" in await client.get("/models/checkpoints")


async def test_no_runner_is_503_with_a_reason(pool, client):
    for simulator in pool.simulators:
        await simulator.die()
    await pool.until(lambda: not pool.rooms.pool.ready())
    for path in ("/models", "/i18n", "/tn/name", "/internal/logs", "/no/such", "/global_subgraphs"):
        async with client.http.get(client.base + path) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5"), path
            assert (await answer.json())["error"]["type"] == "no_runner_available"
    assert "KSampler" in await client.get("/object_info")  # known, so no runner is needed
