"""Models of `scheduling.keep_warm` that come with a workflow are loaded again without a client's job."""

import json

from support.client import Client
from support.graphs import save_graph
from support.pools import running_pool

from gateway.jobs.states import JobState

MODEL = "flux-dev.safetensors"
OTHER = "other.safetensors"


def loading(model):
    graph = save_graph(1)
    graph["1"] = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": model}}
    graph["4"] = {"class_type": "CLIPTextEncode", "inputs": {"text": "x", "clip": ["1", 1]}}
    graph["5"] = {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}}
    graph["6"] = {
        "class_type": "KSampler",
        "inputs": {
            "model": ["1", 0],
            "seed": 1,
            "steps": 1,
            "cfg": 1.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "positive": ["4", 0],
            "negative": ["4", 0],
            "latent_image": ["5", 0],
            "denoise": 1.0,
        },
    }
    graph["2"] = {"class_type": "VAEDecode", "inputs": {"samples": ["6", 0], "vae": ["1", 2]}}
    graph["3"] = {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}}
    return graph


def pool_that_keeps(folder, *models, count=2, **more):
    kept = []
    for number, model in enumerate(models):
        path = folder / f"{number}.json"
        path.write_text(json.dumps(loading(model)))
        kept.append({"model": model, "workflow": str(path)})
    options = [{"checkpoints": (MODEL, OTHER), "load_seconds": 0.05} for _ in range(count)]
    return running_pool(folder, count, options=options, config={"scheduling": {"keep_warm": kept} | more})


def holders(pool, model):
    memory = pool.rooms.jobs.dispatcher.scheduler.memory
    return [each.options.name for each in pool.simulators if model in memory.warm(each.options.name)]


async def test_a_restarted_runners_model_is_loaded_again(tmp_path):
    async with pool_that_keeps(tmp_path, MODEL) as pool:
        await pool.until(lambda: holders(pool, MODEL))
        assert len(pool.executed) == 1, "one copy is enough"
        (name,) = holders(pool, MODEL)
        await pool.simulator(name).restart()
        await pool.until(lambda: len(pool.executed) == 2)
        await pool.until(lambda: holders(pool, MODEL))


async def test_freed_memory_is_filled_again_with_what_is_to_be_kept(tmp_path):
    async with pool_that_keeps(tmp_path, MODEL, count=1) as pool, Client.connected(pool.base) as client:
        await pool.until(lambda: holders(pool, MODEL))
        status, _ = await client.post("/free", {"unload_models": True, "free_memory": True})
        assert status == 200
        await pool.until(lambda: len(pool.executed) == 2 and holders(pool, MODEL))


async def test_nobody_is_shown_the_job_and_the_operator_is(tmp_path):
    async with pool_that_keeps(tmp_path, MODEL) as pool, Client.connected(pool.base) as client:
        await pool.until(lambda: holders(pool, MODEL))
        await pool.until(lambda: not list(pool.rooms.jobs.registry))
        for simulator in pool.simulators:
            simulator.pause()
        pool.rooms.jobs.learner.forget(holders(pool, MODEL)[0], "freed")
        await pool.until(lambda: [job for job in pool.rooms.jobs.registry if job.state is JobState.RUNNING])
        (job,) = pool.rooms.jobs.registry
        assert await client.get("/queue") == {"queue_running": [], "queue_pending": []}
        assert (await client.get("/prompt"))["exec_info"]["queue_remaining"] == 0
        assert (await client.get("/api/jobs"))["jobs"] == []
        (told,) = (await client.get("/gateway/api/runners"))["keep_warm"]
        assert (told["model"], told["state"], told["job"]) == (MODEL, "loading", job.id)
        assert (await client.get(f"/gateway/api/jobs/{job.id}"))["owner"] == job.owner != ""
        for simulator in pool.simulators:
            simulator.resume()
        await pool.until(lambda: holders(pool, MODEL))
        await pool.until(lambda: not list(pool.rooms.jobs.registry))
        assert await client.get("/history") == {}
        assert (await client.get("/api/jobs"))["jobs"] == []
        (told,) = (await client.get("/gateway/api/runners"))["keep_warm"]
        assert told["runners"] == holders(pool, MODEL)
