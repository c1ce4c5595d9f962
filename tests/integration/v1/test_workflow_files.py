"""What goes into workflows and what comes out of them: files, signed URLs, running again, and whose they are."""

import re

import aiohttp
import pytest
from support.client import Client
from support.graphs import invert_graph, save_graph
from support.owners import ACCESS, admin_of, client_of
from support.png import seed_of
from support.v1 import (
    asking_graph,
    call,
    create,
    loading_graph,
    outputs_of,
    refusal,
    seen,
    until,
    v1_pool,
    workflow_fields,
)

from gateway.access.token import Token
from gateway.clock import Clock
from gateway.simulator import Simulator, SimulatorOptions
from gateway.workflows.submitting import AT_ONCE


@pytest.fixture
async def pool(tmp_path):
    async with v1_pool(tmp_path, 2) as pool:
        yield pool


async def completed(client, graph, **fields):
    workflow_id = await create(client, graph, **fields)
    await until(client, workflow_id, "completed")
    return workflow_id


async def fetch(url, status=200, **headers):
    async with aiohttp.ClientSession() as nobody, nobody.get(url, headers=headers) as answer:
        assert answer.status == status, await answer.text()
        return answer, await answer.read()


async def call_plain(client, url):
    async with client.http.get(url) as answer:
        assert answer.status == 200
        return await answer.json()


async def source_of(client, workflow_id):
    (output,) = await call(client, "GET", f"/v1/workflow/{workflow_id}/outputs")
    return output["src"]


class TestOutputs:
    async def test_the_documented_shape(self, pool, client):
        workflow_id = await completed(client, save_graph(7))
        (output,) = await call(client, "GET", f"/v1/workflow/{workflow_id}/outputs")
        assert set(output) == {"id", "workflow_id", "src"}
        assert output["workflow_id"] == workflow_id
        assert re.fullmatch(re.escape(pool.base) + r"/v1/output/\S+/out_00001_\.png\?signature=[\w.-]+", output["src"])
        assert await call(client, "GET", f"/v1/workflow/{workflow_id}/outputs") == [output]
        answer, picture = await fetch(output["src"])
        assert answer.content_type == "image/png"
        assert answer.headers["Cache-Control"].startswith("private")
        assert seed_of(picture) == 7

    async def test_a_range_of_it(self, client):
        url = await source_of(client, await completed(client, save_graph(7)))
        _, whole = await fetch(url)
        answer, part = await fetch(url, 206, Range="bytes=2-9")
        assert (part, answer.headers["Content-Range"]) == (whole[2:10], f"bytes 2-9/{len(whole)}")
        await fetch(url, 304, **{"If-None-Match": answer.headers["ETag"]})
        await fetch(url, 416, Range=f"bytes={len(whole)}-")

    async def test_what_was_saved_counts_and_else_what_was_shown(self, pool, client):
        source = await completed(client, save_graph(1))
        (picture,) = await outputs_of(client, source)
        shown = await completed(client, invert_graph("$file(photo)"), **{"$photo": ("a.png", picture)})
        (output,) = await call(client, "GET", f"/v1/workflow/{shown}/outputs")
        assert "temp" in output["src"]
        graph = loading_graph() | {"9": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}}}
        both = await completed(client, graph, **{"$photo": ("a.png", picture)})
        (output,) = await call(client, "GET", f"/v1/workflow/{both}/outputs")
        assert "loaded_00001_.png" in output["src"]

    @pytest.mark.parametrize(
        "graph, status", [(save_graph(1, fail_at=1), "failed"), ({"1": {"class_type": "No"}}, "invalid")]
    )
    async def test_none_of_one_that_is_not_completed(self, client, graph, status):
        workflow_id = await create(client, graph)
        await until(client, workflow_id, status)
        assert await refusal(client, "GET", f"/v1/workflow/{workflow_id}/outputs", 404) == "requested entity not found"

    async def test_none_of_one_that_runs(self, pool, client):
        for simulator in pool.simulators:
            simulator.pause()
        workflow_id = await create(client, save_graph(1))
        await until(client, workflow_id, "running")
        await refusal(client, "GET", f"/v1/workflow/{workflow_id}/outputs", 404)

    @pytest.mark.parametrize("archive", [{}, {"archive": {"enabled": False}}], ids=["archive", "no archive"])
    async def test_they_outlive_their_runner(self, tmp_path, archive):
        """An image made through /v1/workflow can be fetched after its runner was deleted."""
        async with (
            v1_pool(tmp_path, 1, config=archive, runners={"tags": ["others"]}) as pool,
            Client.connected(pool.base) as client,
            Simulator(SimulatorOptions(name="mine", draw=False)) as simulator,
        ):
            body = {"name": "mine", "endpoint": simulator.url, "tags": ["mine"]}
            runner = await call(client, "POST", "/v1/runner", 201, json=body)
            await pool.until(lambda: len(pool.rooms.pool.ready()) == 2)
            workflow_id = await completed(client, save_graph(7), tags="mine")
            assert (await seen(client, workflow_id))["user_runner_id"] == runner["id"]
            await pool.until(lambda: all(row.content_hash for row in pool.rooms.outputs.rows()))
            await call(client, "DELETE", f"/v1/runner/{runner['id']}")
            await pool.until(lambda: len(pool.rooms.pool) == 1)
            await simulator.close()
            (picture,) = await outputs_of(client, workflow_id)
            assert seed_of(picture) == 7
            assert (await seen(client, workflow_id))["status"] == "completed"


class TestSignedUrls:
    async def test_a_changed_one_is_refused(self, client):
        first = await source_of(client, await completed(client, save_graph(1)))
        second = await source_of(client, await completed(client, save_graph(2)))
        path, signature = first.split("?signature=")
        for url in (
            path,
            f"{path}?signature=",
            f"{first}x",
            f"{path}?signature={second.split('=')[1]}",
            f"{second.split('?')[0]}?signature={signature}",
            first.replace("out_00001_", "out_00002_"),
        ):
            _, body = await fetch(url, 403)
            assert b'"status":403' in body

    async def test_it_expires(self, tmp_path, monkeypatch):
        config = {"workflows": {"url_seconds": 60}}
        async with v1_pool(tmp_path, 1, config=config) as pool, Client.connected(pool.base) as client:
            url = await source_of(client, await completed(client, save_graph(1)))
            now = Clock().wall_ms()
            monkeypatch.setattr(Clock, "wall_ms", lambda _: now + 62_000)
            await fetch(url, 403)
            _, picture = await fetch(await source_of(client, (await client.get("/v1/workflow"))["workflows"][0]["id"]))
            assert seed_of(picture) == 1

    async def test_it_is_gone_with_its_workflow(self, client):
        workflow_id = await completed(client, save_graph(1))
        url = await source_of(client, workflow_id)
        await call(client, "DELETE", f"/v1/workflow/{workflow_id}")
        answer, _ = await fetch(url, 404)
        assert answer.headers["Cache-Control"] == "no-store"

    async def test_behind_a_proxy_it_has_the_address_that_was_called(self, tmp_path):
        server = {"server": {"port": 0, "trusted_proxies": ["127.0.0.1/32"]}}
        async with v1_pool(tmp_path, 1, config=server) as pool, Client.connected(pool.base) as client:
            workflow_id = await completed(client, save_graph(1))
            told = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "gpu.example"}
            listed = await call(client, "GET", f"/v1/workflow/{workflow_id}/outputs", headers=told)
            assert listed[0]["src"].startswith("https://gpu.example/v1/output/")


class TestInputs:
    async def test_equal_names_do_not_meet(self, client):
        pictures = [(await outputs_of(client, await completed(client, save_graph(seed))))[0] for seed in (1, 2)]
        ids = [await create(client, loading_graph(), **{"$photo": ("photo.png", each)}) for each in pictures]
        paths = {(await until(client, each, "completed"))["workflow_params"][0][1] for each in ids}
        assert len(paths) == 2
        inverted = [(await outputs_of(client, each))[0] for each in ids]
        assert inverted[0] != inverted[1]

    async def test_they_go_with_the_workflow(self, pool, client):
        (picture,) = await outputs_of(client, await completed(client, save_graph(1)))
        workflow_id = await completed(client, loading_graph(), **{"$photo": ("photo.png", picture + b"more")})
        (row,) = pool.rooms.uploads.rows("input")
        await call(client, "DELETE", f"/v1/workflow/{workflow_id}")
        assert pool.rooms.uploads.rows("input") == []
        assert not await pool.rooms.blobs.exists(row.content_hash)

    async def test_a_content_that_another_one_has_stays(self, pool, client):
        (picture,) = await outputs_of(client, await completed(client, save_graph(1)))
        first, second = [await completed(client, loading_graph(), **{"$photo": ("photo.png", picture)}) for _ in "12"]
        await call(client, "DELETE", f"/v1/workflow/{first}")
        (row,) = pool.rooms.uploads.rows("input")
        assert row.subfolder == f"workflows/{second}"
        assert await pool.rooms.blobs.exists(row.content_hash)
        again = (await call(client, "POST", f"/v1/workflow/{second}/rerun", 201))["id"]
        await until(client, again, "completed")

    async def test_one_that_another_job_still_names_stays(self, pool, client):
        (picture,) = await outputs_of(client, await completed(client, save_graph(1)))
        workflow_id = await completed(client, loading_graph(), **{"$photo": ("photo.png", picture)})
        ((_, path),) = (await seen(client, workflow_id))["workflow_params"]
        for simulator in pool.simulators:
            simulator.pause()
        waiting = await client.submit(invert_graph(path))
        await call(client, "DELETE", f"/v1/workflow/{workflow_id}")
        for simulator in pool.simulators:
            simulator.resume()
        await client.hear_end(waiting)
        assert "execution_success" in client.told(waiting)

    async def test_what_was_sent_with_a_refused_form_is_not_kept(self, pool, client):
        fields = workflow_fields(loading_graph()) | {"$photo": ("a.png", b"x"), "$more": "x"}
        await refusal(client, "POST", "/v1/workflow", 400, fields=fields)
        assert pool.rooms.uploads.rows("input") == []


class TestRunningAgain:
    async def test_with_other_values(self, client):
        first = await create(client, asking_graph(), "first", tags="", **{"$prefix": "before"})
        before = await until(client, first, "completed")
        fields = {"$prefix": "after", "name": "second"}
        told = await call(client, "POST", f"/v1/workflow/{first}/rerun", 201, fields=fields)
        assert (told["name"], told["status"]) == ("second", "accepted")
        after = await until(client, told["id"], "completed")
        assert after["workflow_params"] == [["$text(prefix)", "after"]]
        assert after["workflow_json"] == before["workflow_json"]
        seeds = [seed_of((await outputs_of(client, each))[0]) for each in (first, told["id"])]
        assert seeds[0] != seeds[1]

    async def test_as_it_was(self, client):
        (picture,) = await outputs_of(client, await completed(client, save_graph(1)))
        first = await completed(client, loading_graph(), **{"$photo": ("photo.png", picture)})
        told = await call(client, "POST", f"/v1/workflow/{first}/rerun", 201)
        assert told["name"] == "a run"
        await call(client, "DELETE", f"/v1/workflow/{first}")
        after = await until(client, told["id"], "completed")
        assert after["workflow_params"] == [["$file(photo)", f"workflows/{told['id']}/photo.png"]]

    async def test_with_another_file(self, client):
        pictures = [(await outputs_of(client, await completed(client, save_graph(seed))))[0] for seed in (1, 2)]
        first = await completed(client, loading_graph(), **{"$photo": ("photo.png", pictures[0])})
        fields = {"$photo": ("photo.png", pictures[1])}
        told = await call(client, "POST", f"/v1/workflow/{first}/rerun", 201, fields=fields)
        await until(client, told["id"], "completed")
        assert await outputs_of(client, first) != await outputs_of(client, told["id"])

    @pytest.mark.parametrize(
        "fields, message",
        [
            ({"$other": "x"}, "unknown field $other"),
            ({"$prefix": ("x.png", b"x")}, "field $prefix is a file"),
            ({"name": ""}, "name cannot be empty"),
        ],
    )
    async def test_what_is_wrong_is_told(self, client, fields, message):
        first = await completed(client, asking_graph(), **{"$prefix": "x"})
        assert message in await refusal(client, "POST", f"/v1/workflow/{first}/rerun", 400, fields=fields)
        assert (await client.get("/v1/workflow"))["total"] == 1


class TestWhoseTheyAre:
    async def test_anothers_is_not_there(self, tmp_path):
        async with (
            v1_pool(tmp_path, 1, config=ACCESS) as pool,
            client_of(pool, "ann") as ann,
            client_of(pool, "bob") as bob,
        ):
            workflow_id = await completed(ann, save_graph(1))
            for method, path in (
                ("GET", ""),
                ("POST", "/cancel"),
                ("GET", "/outputs"),
                ("POST", "/rerun"),
                ("DELETE", ""),
            ):
                message = await refusal(bob, method, f"/v1/workflow/{workflow_id}{path}", 404)
                assert message == "requested entity not found"
            assert (await bob.get("/v1/workflow")) == {"workflows": [], "total": 0}
            assert (await ann.get("/v1/workflow"))["total"] == 1
            assert len(await outputs_of(ann, workflow_id)) == 1

    async def test_an_admin_reaches_everyones(self, tmp_path):
        async with v1_pool(tmp_path, 1, config=ACCESS) as pool, client_of(pool, "ann") as ann, admin_of(pool) as admin:
            (picture,) = await outputs_of(ann, await completed(ann, save_graph(1)))
            workflow_id = await completed(ann, loading_graph(), **{"$photo": ("a.png", picture)})
            assert (await seen(admin, workflow_id))["user_id"] == (await ann.get("/v1/user"))["id"]
            assert len(await outputs_of(admin, workflow_id)) == 1
            again = (await call(admin, "POST", f"/v1/workflow/{workflow_id}/rerun", 201))["id"]
            told = await until(admin, again, "completed")
            assert told["user_id"] == (await admin.get("/v1/user"))["id"]
            await call(admin, "DELETE", f"/v1/workflow/{workflow_id}")
            await call(ann, "GET", f"/v1/workflow/{workflow_id}", 404)

    async def test_an_owner_at_its_limit_keeps_nobody_else_out(self, tmp_path):
        config = ACCESS | {"limits": {"pending": 2}}
        async with (
            v1_pool(tmp_path, 1, config=config) as pool,
            client_of(pool, "ann") as ann,
            client_of(pool, "bob") as bob,
        ):
            pool.simulators[0].pause()
            for seed in (1, 2):
                await until(ann, await create(ann, save_graph(seed)), "queued", "running")
            message = await refusal(ann, "POST", "/v1/workflow", 429, fields=workflow_fields(save_graph(3)))
            assert "2 of your jobs" in message
            await until(bob, await create(bob, save_graph(4)), "queued")

    async def test_the_tags_of_a_token_and_of_a_base_url_hold_for_its_workflows(self, tmp_path):
        async with v1_pool(tmp_path, 1, config=ACCESS, runners={"tags": ["a", "b", "c"]}) as pool:
            wanted = Token("", "x", "ann", frozenset({"run"}), 0, tags=("b",))
            token = (await pool.rooms.access.tokens.create(wanted))[1]
            async with Client.connected(pool.base, token=token) as ann:
                ann.base = f"{pool.base}/tags/c"
                told = await until(ann, await create(ann, save_graph(1), tags="a"), "completed")
                assert told["tags"] == ["a"]
                job = await call_plain(ann, f"{pool.base}/gateway/api/jobs/{told['prompt_id']}")
                assert set(job["tags"]) == {"a", "b", "c"}

    async def test_submissions_that_hang_hold_up_no_other_owner(self, tmp_path):
        async with (
            v1_pool(tmp_path, 1, config=ACCESS, runners={"tags": ["bobs"]}) as pool,
            Simulator(SimulatorOptions(name="anns", draw=False)) as simulator,
            admin_of(pool) as admin,
            client_of(pool, "ann") as ann,
            client_of(pool, "bob") as bob,
        ):
            body = {"name": "anns", "endpoint": simulator.url, "tags": ["anns"]}
            await call(admin, "POST", "/v1/runner", 201, json=body)
            await pool.until(lambda: len(pool.rooms.pool.ready()) == 2)
            simulator.state.faults.path = "/prompt"
            simulator.state.faults.hang = True
            hanging = [await create(ann, save_graph(seed), tags="anns") for seed in range(AT_ONCE + 4)]
            await completed(bob, save_graph(100), tags="bobs")
            simulator.state.faults.hang = False
            for each in hanging:
                await until(ann, each, "completed")

    async def test_without_a_token_it_is_401(self, tmp_path):
        async with v1_pool(tmp_path, 1, config=ACCESS) as pool, aiohttp.ClientSession() as nobody:
            for method, path in (("GET", "/v1/workflow"), ("POST", "/v1/workflow"), ("GET", "/v1/template")):
                async with nobody.request(method, pool.base + path) as answer:
                    assert answer.status == 401
                    assert (await answer.json())["status"] == 401
