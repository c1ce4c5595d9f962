"""Which runner a job goes to, and what a client reads when there is none."""

import pytest
from support.busy import fill, hear_ends, holds, queue_of, resume
from support.client import Client
from support.graphs import save_graph
from support.pools import gateway_over, running_pool

from gateway.config import RunnerConfig
from gateway.simulator import Simulator, SimulatorOptions
from gateway.simulator.nodes import extra_node


def with_special(seed):
    graph = save_graph(seed)
    graph["4"] = {"class_type": "Special", "inputs": {"image": ["2", 0]}}
    graph["3"]["inputs"]["images"] = ["4", 0]
    return graph


def with_checkpoint(name, seed=1):
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": name}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "x", "clip": ["1", 1]}},
        "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "4": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["1", 0],
                "seed": seed,
                "steps": 1,
                "cfg": 1.0,
                "sampler_name": "euler",
                "scheduler": "normal",
                "positive": ["2", 0],
                "negative": ["2", 0],
                "latent_image": ["3", 0],
                "denoise": 1.0,
            },
        },
        "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
        "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "sd"}},
    }


async def run(client, graph, **more):
    prompt_id = await client.submit(graph, **more)
    await client.hear_end(prompt_id)
    return prompt_id


async def test_a_class_and_a_checkpoint_that_one_runner_has(tmp_path):
    options = [{}, {"extra_nodes": (extra_node("Special"),)}, {"checkpoints": ("only-here.safetensors",)}]
    async with running_pool(tmp_path, 3, options=options) as pool, Client.connected(pool.base) as client:
        special = [await run(client, with_special(seed)) for seed in range(3)]
        models = [await run(client, with_checkpoint("only-here.safetensors", seed)) for seed in range(3)]
        assert pool.simulator("gpu-1").executed == special
        assert pool.simulator("gpu-2").executed == models


async def test_a_job_waits_for_the_busy_runner_that_fits_while_others_are_free(tmp_path):
    options = [{}, {"extra_nodes": (extra_node("Special"),)}]
    async with running_pool(tmp_path, 2, options=options) as pool, Client.connected(pool.base) as client:
        busy = await fill(pool, client)
        waiting = await client.submit(with_special(1))
        pool.simulator("gpu-0").resume()
        await pool.simulator("gpu-0").idle()
        late = await run(client, save_graph(2))
        assert (await queue_of(client))[1][-1] == waiting
        resume(pool)
        await client.hear_end(waiting)
        assert waiting in pool.simulator("gpu-1").executed
        assert late in pool.simulator("gpu-0").executed
        assert len(pool.executed) == len(busy) + 2


@pytest.mark.parametrize(
    "graph", [with_special(1), with_checkpoint("nowhere.safetensors")], ids=["class", "checkpoint"]
)
async def test_what_no_runner_has_gets_comfyuis_own_error(tmp_path, graph):
    async with running_pool(tmp_path, 2) as pool, Client.connected(pool.base) as client:
        status, answer = await client.post("/prompt", {"prompt": graph})
        async with client.http.post(pool.simulators[0].url + "/prompt", json={"prompt": graph}) as own:
            assert (status, answer) == (400, await own.json())
        assert await queue_of(client) == ([], [])


def tagged(simulators, **tags):
    return {
        "runners": [
            RunnerConfig(
                name=each.options.name, endpoint=each.url, tags=tags[each.options.name.replace("-", "_")].split()
            )
            for each in simulators
        ]
    }


def tags(*wanted):
    return {"gateway": {"tags": list(wanted)}}


async def test_tags(tmp_path):
    async with (
        Simulator(SimulatorOptions(name="gpu-0", draw=False)) as first,
        Simulator(SimulatorOptions(name="gpu-1", draw=False)) as second,
    ):
        config = tagged([first, second], gpu_0="sdxl", gpu_1="flux a100")
        async with (
            gateway_over(tmp_path, [first, second], config=config) as pool,
            Client.connected(pool.base) as client,
        ):
            for seed in range(3):
                await run(client, save_graph(seed), extra_data=tags("flux"))
                await run(client, save_graph(seed), extra_data=tags("sdxl"))
            await run(client, save_graph(9), extra_data=tags("flux", "a100"))
            assert (len(first.executed), len(second.executed)) == (3, 4)
            status, answer = await client.post("/prompt", {"prompt": save_graph(1), "extra_data": tags("nowhere")})
            assert status == 400, "no runner could ever run it, and it is not run outside of its tags"
            assert "lacks the tags nowhere" in str(answer)
            assert len(pool.executed) == 7


async def test_a_disabled_runner_gets_no_job_and_none_waits_for_it(tmp_path):
    async with (
        Simulator(SimulatorOptions(name="gpu-0", draw=False, extra_nodes=(extra_node("Special"),))) as disabled,
        Simulator(SimulatorOptions(name="gpu-1", draw=False)) as active,
    ):
        runners = [
            RunnerConfig(name="gpu-0", endpoint=disabled.url, status="disabled"),
            RunnerConfig(name="gpu-1", endpoint=active.url),
        ]
        async with (
            gateway_over(tmp_path, [disabled, active], config={"runners": runners}) as pool,
            Client.connected(pool.base) as client,
        ):
            for seed in range(4):
                await run(client, save_graph(seed))
            assert (len(disabled.executed), len(active.executed)) == (0, 4)
            status, answer = await client.post("/prompt", {"prompt": with_special(1)})
            assert status == 400
            assert answer["error"]["type"] == "missing_node_type"


async def test_a_required_header_is_sent_on_http_and_websocket(tmp_path):
    options = [{"required_header": ("Authorization", "Bearer of-the-runner")}]
    async with Simulator(SimulatorOptions(name="gpu-0", draw=False, **options[0])) as simulator:
        runner = RunnerConfig(name="gpu-0", endpoint=simulator.url, headers={"Authorization": "Bearer of-the-runner"})
        async with (
            gateway_over(tmp_path, [simulator], config={"runners": [runner]}) as pool,
            Client.connected(pool.base) as client,
        ):
            prompt_id = await run(client, save_graph(1))
            assert await client.files(prompt_id)
            for path in ("/system_stats", "/api/jobs", "/queue", "/history", "/gateway/ready"):
                async with client.http.get(pool.base + path) as answer:
                    assert "of-the-runner" not in await answer.text() + str(answer.headers)


async def test_wrong_headers_are_told_as_such(tmp_path):
    async with (
        Simulator(SimulatorOptions(name="gpu-0", required_header=("X-Key", "right"))) as closed,
        Simulator(SimulatorOptions(name="gpu-1", draw=False)) as opened,
    ):
        runners = [
            RunnerConfig(name="gpu-0", endpoint=closed.url, headers={"X-Key": "wrong"}),
            RunnerConfig(name="gpu-1", endpoint=opened.url),
        ]
        async with (
            gateway_over(tmp_path, [opened], config={"runners": runners}) as pool,
            Client.connected(pool.base) as client,
        ):
            runner = pool.rooms.pool.get("gpu-0")
            await pool.until(lambda: runner.health.state == "misconfigured")
            assert "headers" in runner.health.reason
            await run(client, save_graph(1))


async def test_a_job_whose_last_runner_leaves_ends_with_the_reasons(tmp_path):
    options = [{}, {"extra_nodes": (extra_node("Special"),)}]
    async with running_pool(tmp_path, 2, options=options) as pool, Client.connected(pool.base) as client:
        busy = await fill(pool, client)
        waiting = await client.submit(with_special(1))
        pool.rooms.fleet.remove("gpu-1", 0)
        error = await client.hear_until("execution_error", prompt_id=waiting)
        assert error["data"]["exception_type"] == "NoRunner"
        assert "gpu-0: lacks the node classes Special" in error["data"]["exception_message"]
        await client.hear_end(waiting)
        assert (await client.history(waiting))["status"]["status_str"] == "error"
        resume(pool)
        await hear_ends(client, busy)


async def test_runners_hold_as_many_as_their_own_prefetch_says(tmp_path):
    prefetches = {"gpu-0": 0, "gpu-1": 3}
    async with running_pool(tmp_path, 2) as first:
        runners = [
            RunnerConfig(name=each.options.name, endpoint=each.url, prefetch=prefetches[each.options.name])
            for each in first.simulators
        ]
        async with (
            gateway_over(tmp_path / "mixed", first.simulators, config={"runners": runners}) as pool,
            Client.connected(pool.base) as client,
        ):
            for simulator in pool.simulators:
                simulator.pause()
            ids = [await client.submit(save_graph(seed)) for seed in range(7)]
            for simulator in pool.simulators:
                await simulator.held()
            assert [holds(each) for each in pool.simulators] == [1, 4]
            assert len(pool.rooms.jobs.registry.waiting) == 2
            resume(pool)
            await hear_ends(client, ids)
            assert sorted(pool.executed) == sorted(ids)
