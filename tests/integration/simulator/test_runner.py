"""A runner does what a ComfyUI with a GPU does: pictures, cache, models that load and go, and a door with a key."""

import io
import json
from typing import Any

from PIL import Image

MODELS = ("sd15.safetensors", "sdxl.safetensors")


def text_to_image(seed: int, *, model: str = MODELS[0], width: int = 64, height: int = 48) -> dict[str, Any]:
    """The frontend's default graph."""
    return {
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "seed": seed,
                "steps": 3,
                "cfg": 8,
                "sampler_name": "euler",
                "scheduler": "normal",
                "denoise": 1,
                "model": ["4", 0],
                "positive": ["6", 0],
                "negative": ["7", 0],
                "latent_image": ["5", 0],
            },
        },
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": model}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": width, "height": height, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a bottle", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "text", "clip": ["4", 1]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]}},
    }


async def run(session: Any, runner: Any, prompt: dict[str, Any], **body: Any) -> dict[str, Any]:
    """Run a prompt; gives its history entry."""
    async with session.post(f"{runner.url}/prompt", json={"prompt": prompt, **body}) as response:
        assert response.status == 200, await response.text()
        prompt_id = (await response.json())["prompt_id"]
    await runner.idle()
    return runner.state.queue.history[prompt_id]


async def picture(session: Any, runner: Any, item: dict[str, str]) -> bytes:
    async with session.get(f"{runner.url}/view", params=item) as response:
        assert response.status == 200
        return await response.read()


def cached(entry: dict[str, Any]) -> list[str]:
    return entry["status"]["messages"][1][1]["nodes"]


async def test_the_default_graph_makes_a_picture_with_prompt_and_workflow(make_runner: Any, session: Any) -> None:
    runner = await make_runner(checkpoints=MODELS)
    workflow = {"id": "x", "nodes": ["é"]}
    entry = await run(session, runner, text_to_image(1), extra_data={"extra_pnginfo": {"workflow": workflow}})
    item = entry["outputs"]["9"]["images"][0]
    assert item == {"filename": "ComfyUI_00001_.png", "subfolder": "", "type": "output"}
    with Image.open(io.BytesIO(await picture(session, runner, item))) as image:
        assert (image.format, image.size) == ("PNG", (64, 48))
        assert json.loads(image.text["prompt"]) == text_to_image(1) | json.loads(image.text["prompt"])
        assert json.loads(image.text["workflow"]) == workflow


async def test_pictures_differ_by_seed_and_by_runner(make_runner: Any, session: Any) -> None:
    for draw in (True, False):
        pixels = set()
        for name in ("gpu-0", "gpu-1"):
            runner = await make_runner(name=f"{name}-{draw}", checkpoints=MODELS, draw=draw)
            for seed in (1, 2):
                entry = await run(session, runner, text_to_image(seed))
                data = await picture(session, runner, entry["outputs"]["9"]["images"][0])
                with Image.open(io.BytesIO(data)) as image:
                    assert image.size == (64, 48)
                    pixels.add(image.convert("RGB").tobytes())
        assert len(pixels) == 4


async def test_a_loaded_picture_keeps_its_pixels(runner: Any, session: Any) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (5, 7), (10, 20, 30)).save(buffer, "PNG")
    async with session.post(f"{runner.url}/upload/image", data={"image": io.BytesIO(buffer.getvalue())}) as response:
        name = (await response.json())["name"]
    prompt = {
        "1": {"class_type": "LoadImage", "inputs": {"image": name}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "sub/same"}},
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
    }
    outputs = (await run(session, runner, prompt))["outputs"]
    assert outputs["3"]["images"][0]["subfolder"] == "sub"
    for node, color in (("3", (10, 20, 30)), ("4", (245, 235, 225))):
        with Image.open(io.BytesIO(await picture(session, runner, outputs[node]["images"][0]))) as image:
            assert (image.size, image.getpixel((0, 0))) == ((5, 7), color)


async def test_a_changed_file_is_loaded_again(runner: Any, session: Any) -> None:
    path = runner.folders.base / "input" / "a.png"
    prompt = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }
    Image.new("RGB", (4, 4), 1).save(path)
    assert cached(await run(session, runner, prompt)) == []
    assert cached(await run(session, runner, prompt)) == ["1", "2"]
    Image.new("RGB", (4, 4), 2).save(path)
    assert cached(await run(session, runner, prompt)) == []


async def test_only_what_changed_runs_again(make_runner: Any, session: Any) -> None:
    runner = await make_runner(checkpoints=MODELS)
    await run(session, runner, text_to_image(1))
    assert cached(await run(session, runner, text_to_image(2))) == ["4", "5", "6", "7"]


async def test_how_long_results_are_kept_depends_on_the_version(make_runner: Any, session: Any) -> None:
    for version, kept in (("0.33.0", 7), ("0.3.64", 0)):
        runner = await make_runner(name=version, version=version, checkpoints=MODELS)
        await run(session, runner, text_to_image(1, model=MODELS[0], width=64))
        await run(session, runner, text_to_image(1, model=MODELS[1], width=128))
        assert len(cached(await run(session, runner, text_to_image(1, model=MODELS[0], width=64)))) == kept


async def test_models_load_once_and_go_when_there_is_no_room(make_runner: Any, session: Any) -> None:
    first, second = MODELS
    for kept, loads in ((1, [first, second, first]), (2, [first, second])):
        runner = await make_runner(name=f"keeps-{kept}", checkpoints=MODELS, models_kept=kept)
        for seed, model in enumerate((first, first, second, first)):
            await run(session, runner, text_to_image(seed, model=model))
        assert runner.gpu.loads == loads


async def test_free_unloads_and_forgets(make_runner: Any, session: Any) -> None:
    runner = await make_runner(checkpoints=MODELS)
    await run(session, runner, text_to_image(1))
    async with session.post(f"{runner.url}/free", json={"unload_models": True, "free_memory": True}) as response:
        assert response.status == 200
    assert runner.gpu.loaded == ()
    assert cached(await run(session, runner, text_to_image(1))) == []


async def test_the_required_header(make_runner: Any, session: Any) -> None:
    runner = await make_runner(required_header=("Authorization", "Bearer x"))
    for headers, status in (({}, 401), ({"Authorization": "Bearer y"}, 401), ({"Authorization": "Bearer x"}, 200)):
        async with session.get(f"{runner.url}/prompt", headers=headers) as response:
            assert response.status == status
    async with session.get(f"{runner.url}/simulator/state") as response:
        assert response.status == 200


async def test_a_held_job_shows_where_it_is(make_runner: Any, session: Any) -> None:
    runner = await make_runner(checkpoints=MODELS)
    socket = await session.ws_connect(f"{runner.url}/ws?clientId=a")
    runner.pause(after=8)  # four nodes' starts, the load, the sampler's start, two steps
    async with session.post(f"{runner.url}/prompt", json={"prompt": text_to_image(1), "client_id": "a"}) as response:
        assert response.status == 200
    await runner.held()
    runner.state.sockets.send("marker", {})
    progress = []
    async for message in socket:
        if message.type.name == "TEXT" and json.loads(message.data)["type"] == "progress":
            progress.append(json.loads(message.data)["data"]["value"])
        if message.type.name == "TEXT" and "marker" in message.data:
            break
    assert progress == [1, 2]
    runner.resume()
    await runner.idle()


async def test_a_duplicate_with_the_same_number_is_500_and_queued(make_runner: Any, session: Any) -> None:
    runner = await make_runner(version="0.3.64", checkpoints=MODELS)
    runner.pause()
    statuses = []
    for seed in range(3):
        body = {"prompt": text_to_image(seed), "prompt_id": "same", "number": 1}
        async with session.post(f"{runner.url}/prompt", json=body) as response:
            statuses.append(response.status)
        await runner.held()
    assert statuses == [200, 200, 500]
    assert runner.state.queue.remaining == 3
    runner.resume()
    await runner.idle()
    assert runner.executed == ["same"] * 3


async def test_ids_of_the_old_version_are_any_value_as_a_string(make_runner: Any, session: Any) -> None:
    runner = await make_runner(version="0.3.64", checkpoints=MODELS)
    body = {"prompt": text_to_image(1), "prompt_id": None}
    async with session.post(f"{runner.url}/prompt", json=body) as response:
        assert (await response.json())["prompt_id"] == "None"
    await runner.idle()
