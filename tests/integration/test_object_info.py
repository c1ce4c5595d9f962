"""/object_info of a pool: one snapshot, its ETag, compressed once, read again when it is time."""

from __future__ import annotations

import aiohttp
import pytest
import structlog
from support.client import Client
from support.nodes import answering
from support.pools import running_pool

from gateway.api.native import object_info
from gateway.config import HealthConfig

NO_CACHE = {"Cache-Control": "no-cache"}


def node(name, *, output="INT", options=("a",)):
    """A class as /object_info has it."""
    inputs = {"required": {"choice": [list(options), {}]}}
    return {name: {"input": inputs, "output": [output], "name": name, "output_node": False, "python_module": "nodes"}}


def knowing(*infos):
    """Runners' options, whose /object_info are these dicts; they may be changed later."""
    return [{"extra_routes": answering({"/object_info": info})} for info in infos]


async def answered(client, path="/object_info", **headers):
    async with client.http.get(client.base + path, headers=headers) as answer:
        return answer.headers.get("ETag"), await answer.json()


async def test_classes_and_values_of_all(tmp_path):
    infos = [node("A") | node("Both", options="ab"), node("B") | node("Both", options="bc"), node("C")]
    async with running_pool(tmp_path, 3, options=knowing(*infos)) as pool, Client.connected(pool.base) as client:
        info = await client.get("/api/object_info")
        assert list(info) == ["A", "Both", "B", "C"]
        assert info["Both"]["input"]["required"]["choice"][0] == ["a", "b", "c"]
        assert await client.get("/object_info/C") == {"C": info["C"]}


async def test_not_sent_again_to_who_has_it(tmp_path):
    async with running_pool(tmp_path, 2) as pool, Client.connected(pool.base) as client:
        url, plain = f"{pool.base}/api/object_info", {"Accept-Encoding": "identity"}
        async with client.http.get(url, headers=plain) as first:
            etag, info = first.headers["ETag"], await first.json()
            assert first.headers["Vary"] == "Accept-Encoding"
            assert "Content-Encoding" not in first.headers
        async with client.http.get(url, headers=plain | {"If-None-Match": etag}) as again:
            assert (again.status, await again.read(), again.headers["ETag"]) == (304, b"", etag)
        async with client.http.get(url, headers=plain | {"If-None-Match": '"other"'}) as again:
            assert again.status == 200
        async with client.http.get(url) as packed:
            assert packed.headers["Content-Encoding"] == "gzip"
            assert packed.headers["ETag"] != etag
            assert await packed.json() == info


async def test_compressed_once(tmp_path, monkeypatch):
    compressed = []
    gzip = object_info.gzip.compress
    monkeypatch.setattr(
        object_info.gzip, "compress", lambda *given, **more: compressed.append(1) or gzip(*given, **more)
    )
    async with running_pool(tmp_path, 1) as pool, Client.connected(pool.base) as client:
        first = await answered(client)
        assert await answered(client) == first
        assert compressed == [1]


async def test_changes_with_an_upload(tmp_path):
    async with running_pool(tmp_path, 1) as pool, Client.connected(pool.base) as client:
        before, _ = await answered(client)
        form = aiohttp.FormData()
        form.add_field("image", b"\x89PNG", filename="mine.png")
        async with client.http.post(f"{client.base}/upload/image", data=form) as answer:
            assert answer.status == 200
        after, info = await answered(client)
        assert after != before
        assert "mine.png" in str(info["LoadImage"])


async def test_read_again_for_a_client_that_wants_no_cached_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(object_info, "FRESH_SECONDS", 0.0)
    info = node("A")
    async with running_pool(tmp_path, 1, options=knowing(info)) as pool, Client.connected(pool.base) as client:
        before, _ = await answered(client)
        info |= node("New")
        assert (await answered(client))[0] == before
        _, told = await answered(client, **NO_CACHE)
        assert "New" in told


async def test_clients_do_not_make_a_runner_answer_more_often_than_every_few_seconds(tmp_path):
    info = node("A")
    async with running_pool(tmp_path, 1, options=knowing(info)) as pool, Client.connected(pool.base) as client:
        info |= node("New")
        _, told = await answered(client, **NO_CACHE)  # it was read just now, when the runner came
        assert "New" not in told


async def test_a_runner_that_is_slow_to_answer_holds_nobody_up(tmp_path, monkeypatch):
    monkeypatch.setattr(object_info, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(object_info, "REFRESH_WAIT_SECONDS", 0.01)
    async with running_pool(tmp_path, 1) as pool, Client.connected(pool.base) as client:
        before, _ = await answered(client)
        pool.simulators[0].faults.hang = True
        assert (await answered(client, **NO_CACHE))[0] == before
        pool.simulators[0].faults.hang = False


async def test_read_again_when_it_is_old(tmp_path):
    info = node("A")
    health = HealthConfig(interval_seconds=0.05, catalogue_seconds=0.1)
    config = {"health": health}
    async with (
        running_pool(tmp_path, 1, options=knowing(info), config=config) as pool,
        Client.connected(pool.base) as client,
    ):
        await answered(client)
        info |= node("New")
        await pool.until(lambda: "New" in pool.rooms.pool.object_info())
        assert "New" in (await answered(client))[1]


async def test_a_runner_that_is_down_keeps_its_classes_until_it_is_lost(tmp_path):
    health = HealthConfig(interval_seconds=0.05, grace_seconds=0.5)
    infos = knowing(node("A"), node("B"))
    async with (
        running_pool(tmp_path, 2, options=infos, config={"health": health}) as pool,
        Client.connected(pool.base) as client,
    ):
        await pool.simulator("gpu-1").die()
        await pool.until(lambda: len(pool.rooms.pool.ready()) == 1)
        assert "B" in (await answered(client))[1]
        await pool.until(lambda: len(pool.rooms.pool.shown_version) == 1)
        assert "B" not in (await answered(client))[1]
        assert "B" in pool.rooms.pool.catalogue().classes  # a job may wait for it
        await pool.simulator("gpu-1").restart()
        await pool.until(lambda: len(pool.rooms.pool.ready()) == 2)
        assert "B" in (await answered(client))[1]


async def test_different_definitions_are_logged_once(tmp_path, monkeypatch):
    monkeypatch.setattr(object_info, "FRESH_SECONDS", 0.0)
    info = node("Same") | node("Other", output="FLOAT")
    infos = knowing(node("Same") | node("Other"), info)
    with structlog.testing.capture_logs() as logs:
        async with running_pool(tmp_path, 2, options=infos) as pool, Client.connected(pool.base) as client:
            await answered(client)
            info |= node("Third")
            await answered(client, **NO_CACHE)
    told = [line for line in logs if line["event"] == "pool.conflicting_definitions"]
    assert [(line["classes"], line["runners"]) for line in told] == [(["Other"], [["gpu-0"], ["gpu-1"]])]


async def test_a_runners_own_input_files_make_no_new_catalogue(tmp_path, monkeypatch):
    monkeypatch.setattr(object_info, "FRESH_SECONDS", 0.0)
    info = node("Load")
    info["Load"]["input"]["required"]["choice"] = [["a.png"], {"image_upload": True}]
    async with running_pool(tmp_path, 1, options=knowing(info)) as pool, Client.connected(pool.base) as client:
        before, version = await answered(client), pool.rooms.pool.version
        info["Load"]["input"]["required"]["choice"][0].append("pushed.png")
        assert await answered(client, **NO_CACHE) == before
        assert pool.rooms.pool.version == version


async def test_nothing_is_known_yet(tmp_path):
    async with running_pool(tmp_path, 0) as pool, Client.connected(pool.base) as client:
        answer = await client.get("/object_info", status=503)
        assert answer["error"]["type"] == "no_runner_available"


@pytest.mark.parametrize("accepted", ["gzip", "br, GZIP;q=0.5"])
async def test_head(tmp_path, accepted):
    async with running_pool(tmp_path, 1) as pool, Client.connected(pool.base) as client:
        headers = {"Accept-Encoding": accepted}
        async with client.http.head(f"{pool.base}/object_info", headers=headers) as answer:
            assert answer.status == 200
            assert int(answer.headers["Content-Length"]) > 1000
