"""What the gateway learns of simulated runners, and what it makes of it."""

import aiohttp
from support.client import Client
from support.graphs import save_graph
from support.pools import gateway_over, running_pool

from gateway.simulator import Simulator, SimulatorOptions

CHECKPOINTS = ("a.safetensors", "b.safetensors", "c.safetensors")
TIMED = {"checkpoints": CHECKPOINTS, "seconds_per_step": 0.01, "load_seconds": 0.15, "preview_size": 0}


def picture(model, seed, steps=4):
    links = {"model": ["1", 0], "positive": ["2", 0], "negative": ["2", 0], "latent_image": ["3", 0]}
    sampler = {"seed": seed, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": f"{model}.safetensors"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": str(seed), "clip": ["1", 1]}},
        "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "4": {"class_type": "KSampler", "inputs": {**sampler, **links, "steps": steps}},
        "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
        "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "x"}},
    }


def scheduler_of(pool):
    return pool.rooms.jobs.dispatcher.scheduler


def loads_of(pool):
    return sum(len(simulator.gpu.loads) for simulator in pool.simulators)


async def run_all(client, graphs):
    ids = [await client.submit(graph) for graph in graphs]
    for prompt_id in ids:
        await client.hear_end(prompt_id)
    return ids


async def test_models_stay_where_they_are_loaded(tmp_path):
    async with running_pool(tmp_path, 2, options=[TIMED, TIMED]) as pool, Client.connected(pool.base) as client:
        await run_all(client, [picture("a", 1), picture("b", 2)])
        for seed in range(3, 15):
            await run_all(client, [picture("ab"[seed % 2], seed)])
        assert loads_of(pool) == 2
        memory = scheduler_of(pool).memory
        assert sorted(memory.warm("gpu-0") + memory.warm("gpu-1")) == ["a.safetensors", "b.safetensors"]
        assert all(0.1 < seconds < 0.6 for seconds in memory.loads.values())


async def test_how_many_models_a_runner_keeps_is_learned(tmp_path):
    options = [{**TIMED, "models_kept": 1}]
    async with running_pool(tmp_path, 1, options=options) as pool, Client.connected(pool.base) as client:
        for seed, model in enumerate("abababab"):
            await run_all(client, [picture(model, seed)])
        memory = scheduler_of(pool).memory
        assert memory.keeps("gpu-0") == 1
        assert memory.warm("gpu-0") == ("b.safetensors",)


async def test_speeds_are_learned(tmp_path):
    options = [{**TIMED, "seconds_per_step": 0.03, "speed": speed} for speed in (1.0, 0.33)]
    async with running_pool(tmp_path, 2, options=options) as pool, Client.connected(pool.base) as client:
        for seed in range(40):
            await client.submit(picture("a", seed, steps=5))
        await pool.until(lambda: len(pool.executed) == 40 and not pool.rooms.jobs.registry.remaining)
        memory = scheduler_of(pool).memory
        assert memory.speed("gpu-0", 1.0) > 1.5 * memory.speed("gpu-1", 1.0)


async def test_what_is_loaded_is_forgotten_when_memory_is_freed_and_when_a_runner_restarts(tmp_path):
    async with running_pool(tmp_path, 1, options=[TIMED]) as pool, Client.connected(pool.base) as client:
        memory = scheduler_of(pool).memory
        await run_all(client, [picture("a", 1)])
        assert memory.warm("gpu-0")
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{pool.base}/free", json={"unload_models": True}) as told,
        ):
            assert told.status == 200
        assert not memory.warm("gpu-0")
        await run_all(client, [picture("a", 2)])
        assert memory.warm("gpu-0")
        await pool.simulators[0].die()
        await pool.simulators[0].restart()
        await pool.until(lambda: not memory.warm("gpu-0"))


async def test_what_was_learned_is_there_after_a_restart_of_the_gateway(tmp_path):
    async with Simulator(SimulatorOptions(name="gpu-0", draw=False, **TIMED)) as simulator:
        async with gateway_over(tmp_path, [simulator]) as pool:
            async with Client.connected(pool.base) as client:
                await run_all(client, [picture("a", seed) for seed in range(5)])
            before = scheduler_of(pool)
            warm = before.memory.warm("gpu-0")
        async with gateway_over(tmp_path, [simulator]) as again:
            after = scheduler_of(again)
            assert after.memory.warm("gpu-0") == warm != ()
            assert after.estimates.typical == before.estimates.typical > 0
            assert after.memory.loads == before.memory.loads


async def test_a_waiting_job_tells_when_it_is_expected_and_why_it_waits(tmp_path):
    async with (
        running_pool(tmp_path, 1, options=[TIMED]) as pool,
        Client.connected(pool.base) as client,
        aiohttp.ClientSession() as http,
    ):
        await run_all(client, [picture("a", seed) for seed in range(4)])
        pool.simulators[0].gpu.pause()
        ids = [await client.submit(picture("a", seed)) for seed in range(10, 15)]
        async with http.get(f"{pool.base}/gateway/api/jobs/{ids[-1]}") as answer:
            told = await answer.json()
        async with http.get(f"{pool.base}/api/jobs?status=pending") as answer:
            rows = {row["id"]: row for row in (await answer.json())["jobs"]}
        assert told["state"] == "pending"
        assert told["position"] == 3
        assert "due before it" in told["placement"]["reason"]
        assert "has its models loaded" in told["placement"]["runners"][0]["reason"]
        expected = told["expected"]
        assert expected["start"] < expected["end"]
        assert expected["earliest"] <= expected["end"] <= expected["latest"]
        starts = [rows[job_id]["expected_start"] for job_id in ids[1:]]
        assert starts == sorted(starts)
        assert [rows[job_id]["queue_position"] for job_id in ids[1:]] == [1, 2, 3, 4]
        pool.simulators[0].gpu.resume()
        for prompt_id in ids:
            await client.hear_end(prompt_id)


async def test_priority_and_fair_shares_between_clients(tmp_path):
    async with (
        running_pool(tmp_path, 1, runners={"prefetch": 0}) as pool,
        Client.connected(pool.base) as flood,
        Client.connected(pool.base) as visitor,
    ):
        pool.simulators[0].gpu.pause()
        first = [await flood.submit(save_graph(seed)) for seed in range(4)]
        small = await visitor.submit(save_graph(100))
        urgent = await flood.submit(save_graph(200), extra_data={"gateway": {"priority": 5}})
        pool.simulators[0].gpu.resume()
        await pool.until(lambda: len(pool.executed) == 6)
        assert pool.executed == [first[0], urgent, small, *first[1:]]


async def test_a_reserved_runner_is_left_alone_by_others(tmp_path):
    runners = {"reserved_for": ["vip"], "tags": []}
    async with running_pool(tmp_path, 1, runners=runners) as pool, Client.connected(pool.base) as client:
        mine = await client.submit(save_graph(1), extra_data={"gateway": {"tags": ["vip"]}})
        await client.hear_end(mine)
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{pool.base}/prompt", json={"prompt": save_graph(2)}) as answer,
        ):
            assert answer.status == 400
            assert "reserved for others" in await answer.text()


async def test_a_reload_reserves_a_runner_and_opens_it_again(tmp_path):
    async with running_pool(tmp_path, 2) as pool, Client.connected(pool.base) as client:
        first, second = pool.config.runners
        reserved = first.model_copy(update={"reserved_for": ("vip",)})
        for runner in pool.simulators:
            runner.pause()
        waiting = [await client.submit(save_graph(seed)) for seed in range(8)]
        begun = {job.id for job in pool.rooms.jobs.registry if job.runner == "gpu-0"}
        assert begun and len(begun) < len(waiting)
        await pool.rooms.roster.apply([reserved, second])
        for runner in pool.simulators:
            runner.resume()
        await pool.until(lambda: set(waiting) <= set(pool.executed))
        assert set(pool.simulator("gpu-0").executed) == begun, "what it had stays, and no other comes"
        await pool.rooms.roster.apply([first, second])
        pool.simulator("gpu-1").pause()
        later = [await client.submit(save_graph(seed)) for seed in range(30, 32)]
        await pool.until(lambda: set(later) & set(pool.simulator("gpu-0").executed))
        pool.simulator("gpu-1").resume()
        await pool.until(lambda: set(later) <= set(pool.executed))
