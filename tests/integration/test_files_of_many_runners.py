"""One address space for the files of runners that all count from out_00001_.png."""

import io
import json

import aiohttp
from PIL import Image
from support.busy import hear_ends
from support.client import Client
from support.graphs import invert_graph, save_graph
from support.pools import running_pool

from gateway.jobs import aside


def seed_of(png):
    """The seed in the graph that the runner wrote into its picture."""
    graph = json.loads(Image.open(io.BytesIO(png)).text["prompt"])
    return next(node["inputs"]["seed"] for node in graph.values() if "seed" in node["inputs"])


def names_of(entry):
    return [item["filename"] for output in entry["outputs"].values() for item in output.get("images", ())]


async def spread(pool, client, seeds):
    """One job on each runner: all are held until each has its own."""
    for simulator in pool.simulators:
        simulator.pause()
    ids = {await client.submit(save_graph(seed)): seed for seed in seeds}
    for simulator in pool.simulators:
        await simulator.held()
        simulator.resume()
    await hear_ends(client, ids)
    return ids


async def upload(client, name, data):
    form = aiohttp.FormData()
    form.add_field("image", data, filename=name)
    async with client.http.post(client.base + "/upload/image", data=form) as answer:
        assert answer.status == 200
        return await answer.json()


def picture(color):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(buffer, "PNG")
    return buffer.getvalue()


def color_of(png):
    return Image.open(io.BytesIO(png)).convert("RGB").getpixel((0, 0))


async def test_names_never_collide_and_lead_to_the_right_picture(tmp_path):
    async with running_pool(tmp_path, 3) as pool, Client.connected(pool.base) as client:
        ids = {}
        for start in (10, 20, 30):
            ids |= await spread(pool, client, range(start, start + 3))
        seen = {}
        for prompt_id, seed in ids.items():
            entry = await client.history(prompt_id)
            (name,) = names_of(entry)
            (told,) = [
                frame["data"]["output"]["images"][0]["filename"]
                for frame in client.heard
                if isinstance(frame, dict)
                and frame["type"] == "executed"
                and frame["data"]["prompt_id"] == prompt_id
                and frame["data"]["output"]
            ]
            job = await client.get(f"/api/jobs/{prompt_id}")
            assert told == name == job["outputs"]["3"]["images"][0]["filename"]
            assert name not in seen
            seen[name] = seed
        assert sorted(seen) == [f"out_{number:05}_.png" for number in range(1, 10)]
        for name, seed in seen.items():
            assert seed_of(await client.view(filename=name, type="output", subfolder="")) == seed
        own = {path.name for each in pool.simulators for path in (each.folders.base / "output").glob("*.png")}
        assert own == {"out_00001_.png", "out_00002_.png", "out_00003_.png"}, "the runners' own names do collide"
        await client.view(404, filename="out_00010_.png", type="output", subfolder="")


async def test_a_cached_run_keeps_its_name(tmp_path):
    async with running_pool(tmp_path, 1) as pool, Client.connected(pool.base) as client:
        first = await client.submit(save_graph(1))
        await client.hear_end(first)
        again = await client.submit(save_graph(1))
        await client.hear_end(again)
        assert names_of(await client.history(again)) == names_of(await client.history(first)) == ["out_00001_.png"]


async def test_an_upload_reaches_the_runner_that_needs_it(tmp_path):
    async with running_pool(tmp_path, 3) as pool, Client.connected(pool.base) as client:
        assert (await upload(client, "x.png", picture((255, 0, 0))))["name"] == "x.png"
        assert (await upload(client, "x.png", picture((0, 255, 0))))["name"] == "x (1).png"
        for simulator in pool.simulators:
            simulator.pause()
        ids = [await client.submit(invert_graph(name)) for name in ("x.png", "x (1).png", "x.png")]
        for simulator in pool.simulators:
            await simulator.held()
            simulator.resume()
        await hear_ends(client, ids)
        assert all(len(each.executed) == 1 for each in pool.simulators)
        colors = [color_of((await client.files(prompt_id))[0]) for prompt_id in ids]
        assert colors == [(0, 255, 255), (255, 0, 255), (0, 255, 255)]
        entry = await client.history(ids[0])
        assert entry["prompt"][2] == invert_graph("x.png"), "the client reads its own graph"


async def test_an_output_of_one_runner_is_an_input_on_another(tmp_path):
    async with running_pool(tmp_path, 2) as pool, Client.connected(pool.base) as client:
        made = await spread(pool, client, [7, 8])
        for prompt_id in made:
            (source,) = await client.files(prompt_id)
            name = names_of(await client.history(prompt_id))[0]
            for writer in pool.simulators:  # on the one that wrote it, and on the other
                other = next(each for each in pool.simulators if each is not writer)
                other.pause()
                blocker = await client.submit(save_graph(100 + len(pool.executed)))
                await other.held() if any(item[1] == blocker for item in other.state.queue.running.values()) else None
                graph = invert_graph(f"{name} [output]")
                inverted = await client.submit(graph)
                other.resume()
                await hear_ends(client, [inverted, blocker])
                (result,) = await client.files(inverted)
                assert color_of(result) == tuple(255 - channel for channel in color_of(source))
                assert (await client.history(inverted))["prompt"][2] == graph


async def made_by_each(pool, client):
    """One picture for each runner: the name of its picture by the runner's name."""
    ids = await spread(pool, client, range(7, 7 + len(pool.simulators)))
    names = [names_of(await client.history(prompt_id))[0] for prompt_id in ids]
    return {pool.rooms.outputs.find("output", "", name).runner: name for name in names}


async def test_an_output_really_runs_as_an_input_of_the_other_runner(tmp_path):
    async with running_pool(tmp_path, 2) as pool, Client.connected(pool.base) as client:
        made = await made_by_each(pool, client)
        assert set(made) == {"gpu-0", "gpu-1"}
        for writer, other in (("gpu-0", "gpu-1"), ("gpu-1", "gpu-0")):
            pool.rooms.fleet.disable(writer)
            source = await client.view(filename=made[writer], type="output", subfolder="")
            inverted = await client.submit(invert_graph(f"{made[writer]} [output]"))
            await client.hear_end(inverted)
            assert pool.simulator(other).executed[-1] == inverted
            (result,) = await client.files(inverted)
            assert color_of(result) == tuple(255 - channel for channel in color_of(source))
            pool.rooms.fleet.enable(writer)


async def test_a_job_whose_input_is_gone_with_its_runner_ends_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(aside, "PAUSES", (0.0,) * 3)
    async with (
        running_pool(tmp_path, 2, config={"archive": {"enabled": False}}) as pool,
        Client.connected(pool.base) as client,
    ):
        made = await made_by_each(pool, client)
        await pool.simulator("gpu-0").die()
        await pool.until(lambda: not pool.rooms.pool.get("gpu-0").is_ready)
        prompt_id = await client.submit(invert_graph(f"{made['gpu-0']} [output]"))
        error = await client.hear_until("execution_error", prompt_id=prompt_id)
        assert error["data"]["exception_type"] == "InputUnavailable"
        assert made["gpu-0"] in error["data"]["exception_message"]
        await client.hear_end(prompt_id)
        assert (await client.history(prompt_id))["status"]["status_str"] == "error"
        after = await client.submit(save_graph(50))
        await client.hear_end(after)
        assert pool.simulator("gpu-1").executed[-1] == after


async def test_a_file_that_nobody_has_is_no_input(tmp_path):
    async with running_pool(tmp_path, 2) as pool, Client.connected(pool.base) as client:
        status, answer = await client.post("/prompt", {"prompt": invert_graph("nothing.png [output]")})
        assert status == 400
        assert answer["node_errors"]["1"]["errors"]
