"""Tags: base URLs that are a ComfyUI of their own, tokens', rules over the graph, and jobs that no runner fits."""

from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
from support.client import Client
from support.graphs import save_graph
from support.pools import gateway_over
from yarl import URL

from gateway.access.token import Token
from gateway.simulator import Simulator, SimulatorOptions

TAGS = (("sdxl", "gpu-a100"), ("sdxl",), ("flux",))


@asynccontextmanager
async def tagged_pool(folder, *, more=({}, {}, {}), **config):
    """gpu-0 has sdxl and gpu-a100, gpu-1 has sdxl, gpu-2 has flux; each has a checkpoint of its own."""
    async with AsyncExitStack() as stack:
        simulators = []
        for number in range(len(TAGS)):
            options = {"name": f"gpu-{number}", "draw": False, "checkpoints": [f"only-{number}.safetensors"]}
            simulators.append(await stack.enter_async_context(Simulator(SimulatorOptions(**options))))
        runners = [
            {"name": each.options.name, "endpoint": each.url, "tags": list(tags), **others}
            for each, tags, others in zip(simulators, TAGS, more, strict=True)
        ]
        settings = {"runners": runners, **config}
        yield await stack.enter_async_context(gateway_over(folder, simulators, config=settings))


async def checkpoints(client):
    info = await client.get("/object_info")
    return info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0]


async def ran_on(client, job):
    """The runner of a job, once it has ended."""
    if {"type": "executing", "data": {"node": None, "prompt_id": job}} not in client.heard:
        await client.hear_end(job)
    return (await client.get(f"/gateway/api/jobs/{job}"))["runner"]


async def test_a_base_url_of_tags_is_a_comfyui_of_its_runners(tmp_path):
    async with tagged_pool(tmp_path) as pool:
        async with Client.connected(f"{pool.base}/tags/sdxl+gpu-a100") as client:
            assert await checkpoints(client) == ["only-0.safetensors"]
            assert len((await client.get("/system_stats"))["devices"]) == 1
            assert await client.get("/api/models/checkpoints") == ["only-0.safetensors"]
            assert await client.get("/embeddings") == []
            assert {await ran_on(client, await client.submit(save_graph(n))) for n in range(4)} == {"gpu-0"}
            async with client.http.get(client.base + "/") as page:
                assert page.status == 200
                assert "<html" in (await page.text()).lower()
            async with client.http.get(client.base + "/a_custom_nodes/route") as answer:
                assert answer.headers["X-Gateway-Runner"] == "gpu-0"
        async with Client.connected(f"{pool.base}/tags/sdxl") as client:
            assert sorted(await checkpoints(client)) == ["only-0.safetensors", "only-1.safetensors"]
            assert len((await client.get("/system_stats"))["devices"]) == 2
        async with Client.connected(pool.base) as client:
            assert len(await checkpoints(client)) == 3
            jobs = [await client.submit(save_graph(n, seconds=0.2)) for n in range(9, 18)]
            assert {await ran_on(client, job) for job in jobs} == {"gpu-0", "gpu-1", "gpu-2"}


async def test_tags_that_no_runner_has_are_404_and_say_so(tmp_path):
    async with tagged_pool(tmp_path) as pool, aiohttp.ClientSession() as http:
        for path in ("/", "/prompt", "/object_info", "/ws", "/queue"):
            async with http.get(f"{pool.base}/tags/sdxl+nothing{path}") as answer:
                assert answer.status == 404, path
                told = await answer.json()
            assert told["error"]["type"] == "unknown_tags"
            assert "gpu-1 has sdxl" in told["error"]["details"]
        async with http.get(f"{pool.base}/tags/sdxl", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (308, "/tags/sdxl/")


async def test_a_job_asks_for_tags_and_waits_while_a_runner_could_have_them(tmp_path):
    async with tagged_pool(tmp_path) as pool, Client.connected(pool.base) as client:
        flux = {"extra_data": {"gateway": {"tags": ["flux"]}}}
        assert await ran_on(client, await client.submit(save_graph(1), **flux)) == "gpu-2"
        nothing = {"extra_data": {"gateway": {"tags": ["sdxl", "flux"]}}}
        status, told = await client.post("/prompt", {"prompt": save_graph(2), "client_id": client.sid, **nothing})
        assert (status, told["error"]["type"]) == (400, "no_runner_fits")
        for name in ("gpu-0", "gpu-1", "gpu-2"):
            assert f"{name}: lacks the tags" in told["error"]["details"]
        simulator = pool.simulator("gpu-2")
        await simulator.die()
        await pool.until(lambda: len(pool.rooms.pool.ready()) == 2)
        waiting = await client.submit(save_graph(3), **flux)
        queue = await client.get("/queue")
        assert [item[1] for item in queue["queue_pending"]] == [waiting]
        await simulator.restart()
        assert await ran_on(client, waiting) == "gpu-2"


async def test_a_tokens_tags_are_always_added(tmp_path):
    async with tagged_pool(tmp_path, access={"mode": "tokens"}) as pool:
        wanted = Token("", "ada's", "ada", frozenset({"run", "manage", "admin"}), 0, tags=("flux",))
        _, secret = await pool.rooms.access.tokens.create(wanted)
        async with Client.connected(pool.base, token=secret) as client:
            assert await checkpoints(client) == ["only-2.safetensors"]
            assert {await ran_on(client, await client.submit(save_graph(n))) for n in range(3)} == {"gpu-2"}
            other = {"extra_data": {"gateway": {"tags": ["sdxl"]}}}
            status, told = await client.post("/prompt", {"prompt": save_graph(4), **other})
            assert (status, told["error"]["type"]) == (400, "no_runner_fits")
            async with client.http.get(pool.base + "/tags/sdxl/queue") as answer:
                assert answer.status == 404


async def test_rules_look_at_the_graph(tmp_path):
    rules = [
        {"when": {"class_type": "EmptyImage", "inputs": {"width": "(64|128)", "color": "7"}}, "add": ["flux"]},
        {"when": {"inputs": {"filename_prefix": "big/.*"}}, "add": ["gpu-a100"]},
    ]
    async with tagged_pool(tmp_path, tags={"rules": rules}) as pool, Client.connected(pool.base) as client:
        for _ in range(2):
            assert await ran_on(client, await client.submit(save_graph(7))) == "gpu-2"
            assert await ran_on(client, await client.submit(save_graph(8, prefix="big/x"))) == "gpu-0"
        job = await client.submit(save_graph(9))
        await client.hear_end(job)
        assert (await client.get(f"/gateway/api/jobs/{job}"))["tags"] == []


async def test_tags_under_a_prefix(tmp_path):
    async with (
        tagged_pool(tmp_path, server={"port": 0, "prefix": "/comfy"}) as pool,
        Client.connected(f"{pool.base}/tags/flux") as client,
    ):
        assert pool.base.endswith("/comfy")
        assert await checkpoints(client) == ["only-2.safetensors"]


async def test_odd_paths_below_tags_are_answered(tmp_path):
    async with tagged_pool(tmp_path) as pool, aiohttp.ClientSession() as http:
        for path in ("//evil.example/x", "/..%2f..%2fetc", "/tags/flux/queue", "/%zz", "//"):
            url = URL(f"{pool.base}/tags/sdxl{path}", encoded=True)
            async with http.get(url, allow_redirects=False) as answer:
                assert answer.status in (200, 404), (path, answer.status)
                assert "Location" not in answer.headers
        async with http.get(f"{pool.base}/tags/+/queue") as answer:  # no tags at all
            assert answer.status == 200
