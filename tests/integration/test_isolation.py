"""Two owners and an admin over two runners: through every route each owner reaches its own and nothing else."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from PIL import Image
from support import nodes
from support.client import Client
from support.graphs import invert_graph, save_graph
from support.owners import ACCESS, admin_of, client_of, guarded_pool, upload
from support.pools import RunningPool, gateway_over
from yarl import URL

from gateway.jobs.states import JobState
from gateway.simulator import Simulator, SimulatorOptions

DRAWING = [{"draw": True}, {"draw": True}]


def picture(color: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(buffer, "PNG")
    return buffer.getvalue()


def color_of(png: bytes) -> tuple[int, ...]:
    return Image.open(io.BytesIO(png)).convert("RGB").getpixel((0, 0))


@pytest.fixture
async def pool(tmp_path) -> AsyncIterator[RunningPool]:
    async with guarded_pool(tmp_path, options=[{"extra_routes": nodes.ROUTES}] * 2) as opened:
        yield opened


@asynccontextmanager
async def all_three(pool: RunningPool) -> AsyncIterator[tuple[Client, Client, Client]]:
    async with client_of(pool, "anna") as anna, client_of(pool, "bert") as bert, admin_of(pool) as admin:
        yield anna, bert, admin


async def done(client: Client, seed: int = 1, **more: object) -> str:
    prompt_id = await client.submit(save_graph(seed), **more)
    await client.hear_end(prompt_id)
    return prompt_id


def pause(pool: RunningPool) -> None:
    for simulator in pool.simulators:
        simulator.pause()


def resume(pool: RunningPool) -> None:
    for simulator in pool.simulators:
        simulator.resume()


async def runs(pool: RunningPool, prompt_id: str) -> None:
    await pool.until(lambda: pool.rooms.jobs.registry.get(prompt_id).state is JobState.RUNNING)


def ids_of(queue: dict[str, list]) -> list[str]:
    return [item[1] for part in ("queue_running", "queue_pending") for item in queue[part]]


class TestWhatWaitsAndRuns:
    async def test_queues_and_jobs(self, pool):
        async with all_three(pool) as (anna, bert, admin):
            pause(pool)
            hers = [await anna.submit(save_graph(seed)) for seed in range(5)]
            his = await bert.submit(save_graph(9))
            assert sorted(ids_of(await anna.get("/queue"))) == sorted(hers)
            assert ids_of(await bert.get("/queue")) == [his]
            assert sorted(ids_of(await admin.get("/queue"))) == sorted([*hers, his])
            for client, count in ((anna, 5), (bert, 1), (admin, 0)):
                assert await client.get("/prompt") == {"exec_info": {"queue_remaining": count}}
            for client, wanted in ((anna, hers), (bert, [his]), (admin, [*hers, his])):
                assert sorted(row["id"] for row in (await client.get("/api/jobs"))["jobs"]) == sorted(wanted)
            assert await bert.get(f"/api/jobs/{hers[0]}", 404) == {"error": "Job not found"}
            assert await bert.get(f"/gateway/api/jobs/{hers[0]}", 404)
            assert (await admin.get(f"/gateway/api/jobs/{hers[0]}"))["owner"] == "anna"
            assert (await admin.get(f"/api/jobs/{hers[0]}"))["id"] == hers[0]
            resume(pool)

    async def test_a_place_counts_others_without_naming_them(self, pool):
        async with all_three(pool) as (anna, bert, _):
            pause(pool)
            for seed in range(6):
                await anna.submit(save_graph(seed))
            his = await bert.submit(save_graph(9))
            (row,) = (await bert.get("/api/jobs"))["jobs"]
            assert row["id"] == his
            assert row["queue_position"] > 1, "his only job, and not the pool's next"
            assert (await bert.get(f"/api/jobs/{his}"))["queue_position"] == row["queue_position"]
            resume(pool)

    async def test_nobody_is_told_of_anothers_queue(self, pool):
        async with all_three(pool) as (anna, bert, _):
            await bert.hear_until("status")
            await done(anna)
            await done(bert)
            told = [frame["data"] for frame in bert.heard if isinstance(frame, dict) and frame["type"] == "status"]
            counts = [data["status"]["exec_info"]["queue_remaining"] for data in told]
            assert counts == [0, 1, 0], "of his own job only"

    async def test_calls_that_change_something_reach_ones_own(self, pool):
        async with all_three(pool) as (anna, bert, admin):
            pause(pool)
            jobs = [await anna.submit(save_graph(seed)) for seed in range(6)]
            await pool.until(lambda: len(pool.rooms.jobs.live(None, JobState.RUNNING)) == 2)
            running, other = [job.id for job in pool.rooms.jobs.live(None, JobState.RUNNING)]
            waiting = [job for job in jobs if job not in (running, other)]
            for path, body in (
                ("/queue", {"clear": True}),
                ("/queue", {"delete": waiting}),
                ("/interrupt", {}),
                ("/interrupt", {"prompt_id": running}),
            ):
                assert (await bert.post(path, body))[0] == 200
                assert len(ids_of(await anna.get("/queue"))) == 6
            assert await bert.post(f"/api/jobs/{running}/cancel") == (200, {"cancelled": False})
            for path, body in (("/queue", {"clear": True}), ("/interrupt", {})):
                assert (await admin.post(path, body))[0] == 200
                assert len(ids_of(await anna.get("/queue"))) == 6, "also an admin's call without an id"
            assert (await admin.post("/queue", {"delete": waiting[-1:]}))[0] == 200
            assert await admin.post(f"/api/jobs/{waiting[0]}/cancel") == (200, {"cancelled": True})
            assert waiting[-1] not in ids_of(await anna.get("/queue"))
            await anna.post("/queue", {"clear": True})
            assert set(ids_of(await anna.get("/queue"))) == {running, other}
            resume(pool)

    async def test_what_an_admin_does_to_others_is_noted(self, pool):
        async with all_three(pool) as (anna, _, admin):
            pause(pool)
            jobs = [await anna.submit(save_graph(seed)) for seed in range(6)]
            await admin.post("/queue", {"delete": [jobs[-1]]})
            mine = await admin.submit(save_graph(9))
            await admin.post("/queue", {"delete": [mine]})
            rows = await trail(pool)
            assert [(row.action, row.target) for row in rows if row.action.startswith("job.")] == [
                ("job.delete", jobs[-1])
            ]
            resume(pool)

    async def test_free_spares_runners_that_work_for_others(self, pool):
        async with all_three(pool) as (anna, bert, admin):
            pause(pool)
            hers = await anna.submit(save_graph(1))
            await runs(pool, hers)
            busy = pool.rooms.jobs.registry.get(hers).runner
            freed = count_calls(pool, "/free")
            for client, wanted in ((bert, {"gpu-0", "gpu-1"} - {busy}), (anna, {"gpu-0", "gpu-1"}), (admin, None)):
                freed.clear()
                assert (await client.post("/free", {"unload_models": True}))[0] == 200
                assert freed == (wanted or {"gpu-0", "gpu-1"})
            resume(pool)

    async def test_the_same_client_id_and_the_same_prompt_id(self, pool):
        async with client_of(pool, "anna", sid="tab") as anna, client_of(pool, "bert", sid="tab") as bert:
            hers = await done(anna, 1, prompt_id="mine")
            assert hers == "mine"
            status, refusal = await bert.post("/prompt", {"prompt": save_graph(2), "prompt_id": "mine"})
            assert (status, refusal["error"]["type"]) == (400, "invalid_prompt_id")
            assert "exist" not in str(refusal)
            status, refusal = await anna.post("/prompt", {"prompt": save_graph(2), "prompt_id": "mine"})
            assert (status, refusal["error"]["type"]) == (400, "duplicate_prompt_id")
            assert await bert.get("/history/mine") == {}
            his = await done(bert, 3)
            assert {frame["data"].get("prompt_id") for frame in bert.heard if isinstance(frame, dict)} == {None, his}
            assert {frame["data"].get("prompt_id") for frame in anna.heard if isinstance(frame, dict)} == {None, hers}

    async def test_nobody_takes_over_anothers_socket(self, pool):
        async with client_of(pool, "anna", sid="tab") as anna:
            pause(pool)
            hers = await anna.submit(save_graph(1))
            await runs(pool, hers)
            async with client_of(pool, "bert", sid="tab") as bert:
                await bert.hear_until("status")
                resume(pool)
                await anna.hear_end(hers)
                await done(bert, 2)
                assert bert.told(hers) == []

    async def test_what_custom_nodes_tell_of_a_job_goes_to_its_owner(self, pool):
        """By the id that they name, or while the job runs; only what an idle runner tells is everyone's."""
        async with all_three(pool) as (anna, bert, admin):
            pause(pool)
            hers = await anna.submit(save_graph(1))
            await runs(pool, hers)
            attempt = pool.rooms.jobs.registry.get(hers).attempt
            sockets = pool.simulator(attempt.runner).state.sockets
            sockets.send("node.said", {"text": "names her job", "prompt_id": attempt.runner_prompt_id})
            sockets.send("node.said", {"text": "while it runs"})
            sockets.send("node.said", {"text": "names no job of the gateway's", "prompt_id": "another"})
            await sockets.sent()
            resume(pool)
            await anna.hear_end(hers)
            sockets.send("node.said", {"text": "idle"})
            for client in (bert, admin) if attempt.runner == pool.rooms.pool.primary.name else ():
                await client.hear_until("node.said", text="idle")
            await done(bert, 2)
            said = {client: [text_of(frame) for frame in client.heard if text_of(frame)] for client in (anna, bert)}
            assert said[anna][:2] == ["names her job", "while it runs"]
            assert set(said[bert]) <= {"idle"}
            assert all(hers not in str(frame) for frame in bert.heard)

    async def test_runners_tell_of_the_callers_jobs_only(self, pool):
        async with all_three(pool) as (anna, _, admin), client_of(pool, "otto", ("run", "manage")) as operator:
            pause(pool)
            hers = await anna.submit(save_graph(1))
            await runs(pool, hers)
            for client, wanted in ((operator, []), (admin, [hers])):
                rows = (await client.get("/gateway/api/runners"))["runners"]
                assert [job for row in rows for job in row["jobs"]] == wanted
                assert [row["running"] for row in rows if row["running"]] == wanted
                assert sum(row["held"] for row in rows) == 1
            resume(pool)


class TestWhatHasEnded:
    async def test_histories(self, pool):
        async with all_three(pool) as (anna, bert, admin):
            hers, his = await done(anna, 1), await done(bert, 2)
            for client, wanted in ((anna, [hers]), (bert, [his]), (admin, [hers, his])):
                assert list(await client.get("/history")) == wanted
            assert await bert.get(f"/history/{hers}") == {}
            assert list(await admin.get(f"/history/{hers}")) == [hers]
            assert await bert.get(f"/api/jobs/{hers}", 404)
            assert await bert.get(f"/gateway/api/jobs/{hers}", 404)
            for body in ({"delete": [hers]}, {"clear": True}):
                assert (await bert.post("/history", body))[0] == 200
                assert list(await anna.get("/history")) == [hers]
            assert list(await bert.get("/history")) == []
            await admin.post("/history", {"clear": True})
            assert list(await anna.get("/history")) == [hers]
            await admin.post("/history", {"delete": [hers]})
            assert list(await anna.get("/history")) == []
            rows = await trail(pool)
            assert ("history.delete", hers) in [(row.action, row.target) for row in rows]

    async def test_headers_tell_of_ones_own_jobs(self, pool):
        async with all_three(pool) as (anna, bert, _):
            hers = await done(anna)
            for client, wanted in ((anna, hers), (bert, None)):
                for path in (f"/history/{hers}", f"/api/jobs/{hers}"):
                    async with client.http.get(pool.base + path) as answer:
                        assert answer.headers.get("X-Gateway-Job") == wanted
                        assert ("X-Gateway-Runner" in answer.headers) is (wanted is not None)


class TestFiles:
    async def test_outputs_of_one_name(self, pool):
        """Each owner counts for itself: the names tell nothing of how many pictures others have made."""
        async with all_three(pool) as (anna, bert, admin):
            for seed in (1, 2, 3):
                await done(anna, seed)
            his = await done(bert, 4)
            items = [item for output in (await bert.history(his))["outputs"].values() for item in output["images"]]
            assert [item["filename"] for item in items] == ["out_00001_.png"]
            hers = await anna.view(filename="out_00001_.png")
            assert await bert.view(filename="out_00001_.png") not in (hers, b"")
            await bert.view(404, filename="out_00002_.png")
            assert await admin.view(filename="out_00002_.png") == await anna.view(filename="out_00002_.png")
            await admin.view(404, filename="out_00001_.png")  # whose?
            assert await admin.view(filename="out_00001_.png", owner="anna") == hers
            await bert.view(404, filename="out_00002_.png", owner="anna")
            for client, count in ((anna, 3), (bert, 1), (admin, 0)):
                assert len(await client.get("/internal/files/output")) == count

    async def test_uploads_of_one_name(self, pool):
        async with all_three(pool) as (anna, bert, _):
            for client, content in ((anna, b"anna's"), (bert, b"bert's")):
                assert (await upload(client, content, "example.png"))["name"] == "example.png"
            await upload(anna, b"more", "only-hers.png")
            assert await anna.view(filename="example.png", type="input") == b"anna's"
            assert await bert.view(filename="example.png", type="input") == b"bert's"
            await bert.view(404, filename="only-hers.png", type="input")
            for client, wanted in ((anna, {"example.png", "only-hers.png"}), (bert, {"example.png"})):
                info = await client.get("/object_info/LoadImage")
                options = info["LoadImage"]["input"]["required"]["image"]
                offered = options[1].get("options") if options[0] == "COMBO" else options[0]
                assert set(offered) == wanted
                assert set(await client.get("/internal/files/input")) == {f"{name} [input]" for name in wanted}

    async def test_inputs_of_others_cannot_be_used(self, pool):
        async with all_three(pool) as (anna, bert, _):
            await upload(anna, picture((1, 2, 3)), "hers.png")
            await done(anna)
            for value in ("hers.png", "out_00001_.png [output]"):
                status, refusal = await bert.post("/prompt", {"prompt": invert_graph(value)})
                assert status == 400
                assert "Invalid image file" in str(refusal)
                assert "unavailable" not in str(refusal), "told in the client's words"
                assert value.partition(" ")[0] in str(refusal)
            await done_with(anna, invert_graph("out_00001_.png [output]"))

    async def test_masks(self, pool):
        async with all_three(pool) as (anna, bert, _):
            await upload(anna, picture((1, 2, 3)), "hers.png")
            form = aiohttp.FormData({"original_ref": '{"filename": "hers.png", "type": "input"}'})
            form.add_field("image", picture((0, 0, 0)), filename="masked.png")
            async with bert.http.post(f"{pool.base}/upload/mask", data=form) as answer:
                assert answer.status == 200, "as ComfyUI, where the original is not there"
            await bert.view(404, filename="masked.png", type="input")

    async def test_queries_that_name_a_file_reach_no_runner_with_anothers(self, pool):
        async with all_three(pool) as (anna, bert, _):
            await done(anna)
            await upload(anna, b"video", "in.mp4")
            for query in ({"type": "output"}, {}):
                query |= {"filename": "out_00001_.png"}
                assert (await anna.get("/tn/echo", **query))["path"].startswith("/tn/echo?")
                async with bert.http.get(f"{pool.base}/tn/echo", params=query) as answer:
                    runner = answer.headers.get("X-Gateway-Runner")
                    wrote = pool.rooms.outputs.find("output", "", "out_00001_.png", "anna").runner
                    assert answer.status == 404 or (runner != wrote and "type" not in query)
            staged = (await anna.get("/tn/echo", filename="in.mp4", type="input"))["path"]
            assert "filename=in." in staged
            async with bert.http.get(f"{pool.base}/tn/echo", params={"filename": "in.mp4", "type": "input"}) as answer:
                assert answer.status == 404
            assert (await bert.get("/tn/echo", filename="some.safetensors"))["path"].endswith("some.safetensors")

    async def test_other_spellings_of_comfyuis_paths_reach_no_runner(self, pool):
        async with all_three(pool) as (anna, bert, _):
            hers = await done(anna)
            seen = []
            for runner in pool.rooms.pool:
                session = runner.client.session
                request = session._request

                async def heard(method, url, request=request, **more):
                    seen.append(URL(str(url)).path)
                    return await request(method, url, **more)

                session._request = heard
            for path in (
                *("//history", f"/history%2F{hers}", "/api//queue", "/%2Fqueue", "/queue/", "/API/../queue"),
                *("/view/?filename=out_00001_.png", "/v2//userdata", "/internal/files", "/api/internal/logs", "/jobs"),
                *("/api/v2/history", "/api/api/api/jobs", "/%252Fhistory", "//api//jobs", "/internal%2Flogs"),
                *("//upload/image", "/upload%2Fmask"),
            ):
                async with bert.http.get(URL(pool.base + path, encoded=True)) as answer:
                    assert answer.status == 404, path
                    assert hers not in await answer.text()
            asked = [path for path in seen if path not in ("/prompt", "/queue", "/system_stats", "/object_info")]
            assert not asked
            assert (await bert.get("/tn/echo"))["path"] == "/tn/echo"

    async def test_settings_and_workflows(self, pool):
        async with all_three(pool) as (anna, bert, _):
            await anna.post("/settings", {"Comfy.A": 1})
            await anna.post("/api/userdata/workflows%252Fa.json", {"nodes": []})
            assert await bert.get("/settings") == {}
            async with bert.http.get(f"{pool.base}/api/userdata/workflows%252Fa.json") as answer:
                assert answer.status == 404
            assert await bert.get("/userdata", dir="workflows") == []
            assert await anna.get("/userdata", dir="workflows") == ["a.json"]

    async def test_a_runners_log_is_for_admins(self, pool):
        async with all_three(pool) as (anna, _, admin):
            for path in ("/internal/logs", "/internal/logs/raw"):
                await anna.get(path, 403)
                await admin.get(path)
            body = {"clientId": anna.sid, "enabled": True}
            async with anna.http.patch(f"{pool.base}/internal/logs/subscribe", json=body) as answer:
                assert answer.status == 403


class TestAtTheSameTime:
    async def test_same_named_uploads_and_outputs_in_parallel(self, tmp_path):
        """Twelve jobs of two owners over two runners, all of ``example.png``, which changes twice meanwhile."""
        async with (
            guarded_pool(tmp_path, options=DRAWING) as pool,
            client_of(pool, "anna") as anna,
            client_of(pool, "bert") as bert,
        ):
            wanted: dict[tuple[str, str], tuple[int, ...]] = {}
            for turn in range(3):
                for client, base in ((anna, 10), (bert, 200)):
                    color = (base + turn, base + turn, base + turn)
                    await upload(client, picture(color), "example.png", overwrite="true")
                    for _ in range(2):
                        prompt_id = await client.submit(inverted("example.png"))
                        wanted[client.sid, prompt_id] = tuple(255 - part for part in color)
            for client in (anna, bert):
                mine = {prompt_id for sid, prompt_id in wanted if sid == client.sid}
                await asyncio.gather(*(ended(pool, prompt_id) for prompt_id in mine))
                named: dict[str, tuple[int, ...]] = {}  # the same picture twice is cached where one runner made both
                for prompt_id in mine:
                    entry = await client.history(prompt_id)
                    assert entry["prompt"][2]["1"]["inputs"]["image"] == "example.png", "told back as it was sent"
                    (made,) = await client.files(prompt_id)
                    assert color_of(made) == wanted[client.sid, prompt_id]
                    (name,) = [item["filename"] for out in entry["outputs"].values() for item in out["images"]]
                    assert named.setdefault(name, wanted[client.sid, prompt_id]) == wanted[client.sid, prompt_id]
                assert len(set(named.values())) == 3
                assert sorted(named) == [f"same_{number:05}_.png" for number in range(1, len(named) + 1)]

    async def test_a_picture_that_a_runner_has_made_for_another_is_written_anew(self, tmp_path):
        """A runner's cache knows no owners, and a picture holds the workflow of whoever had it written."""
        async with (
            guarded_pool(tmp_path, 1, options=DRAWING) as pool,
            client_of(pool, "anna") as anna,
            client_of(pool, "bert") as bert,
        ):
            workflow = {"extra_pnginfo": {"workflow": {"id": "hers", "nodes": []}}}
            hers = await done(anna, 7, extra_data=workflow)
            his = await done(bert, 7)
            (cached,) = [frame["data"]["nodes"] for frame in bert.heard if is_cached(frame)]
            assert cached == ["1", "2"], "what is not written is shared"
            (mine,), (theirs,) = await anna.files(hers), await bert.files(his)
            assert b"hers" in mine
            assert b"hers" not in theirs
            for client, prompt_id in ((anna, hers), (bert, his)):
                assert (await client.history(prompt_id))["prompt"][2] == save_graph(7), "told back as it was sent"
            again = await done(anna, 7, extra_data=workflow)
            assert await anna.files(again) == [mine], "from the cache"

    async def test_a_restart_tells_inputs_as_they_were_sent(self, tmp_path):
        async with Simulator(SimulatorOptions(name="gpu-0", draw=False)) as simulator:
            simulator.pause()
            async with gateway_over(tmp_path, [simulator], config=ACCESS) as pool, client_of(pool, "anna") as anna:
                await upload(anna, picture((1, 2, 3)), "example.png")
                prompt_id = await anna.submit(inverted("example.png"))
                await runs(pool, prompt_id)
            async with gateway_over(tmp_path, [simulator], config=ACCESS) as pool, client_of(pool, "anna") as anna:
                simulator.resume()
                await ended(pool, prompt_id)
                assert (await anna.history(prompt_id))["prompt"][2] == inverted("example.png")


def inverted(image: str) -> dict[str, object]:
    graph = invert_graph(image)
    graph["3"] = {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "same"}}
    return graph


async def done_with(client: Client, graph: dict[str, object]) -> str:
    prompt_id = await client.submit(graph)
    await client.hear_end(prompt_id)
    return prompt_id


def text_of(frame: object) -> str | None:
    return frame["data"]["text"] if isinstance(frame, dict) and frame["type"] == "node.said" else None


def is_cached(frame: object) -> bool:
    return isinstance(frame, dict) and frame["type"] == "execution_cached"


async def ended(pool: RunningPool, prompt_id: str) -> None:
    await pool.until(lambda: pool.rooms.jobs.registry.get(prompt_id) is None)


def count_calls(pool: RunningPool, path: str) -> set[str]:
    """The names of the runners that are asked for this path from now on."""
    called: set[str] = set()
    for runner in pool.rooms.pool:
        request = runner.client.request

        async def counted(method: str, asked: str, *, of=runner.name, request=request, **more: object) -> object:
            if asked == path:
                called.add(of)
            return await request(method, asked, **more)

        runner.client.request = counted
    return called


async def trail(pool: RunningPool):
    await pool.rooms.db.flushed()
    return await pool.rooms.access.trail.page(limit=100)
