"""Outputs that are no pictures, from three runners that all use the same names; and frames of tens of MB."""

import asyncio

from support.busy import hear_ends
from support.client import Client
from support.graphs import save_graph
from support.pools import running_pool

from gateway.comfyui import frames
from gateway.simulator.definitions import NodeDefinition
from gateway.simulator.nodes import NodeClass, NodeResult

MEGABYTE = 1_000_000
KINDS = {  # key of the output -> ending of its file, as ComfyUI's and well-known custom nodes' savers write them
    "images": "mp4",  # SaveVideo tells its file as an image
    "gifs": "webm",
    "audio": "flac",
    "3d": "glb",
    "latents": "latent",
    "of_a_custom_node": "bin",
}


def content(kind, seed):
    return f"{kind} of {seed}".encode()


async def _save_all(call):
    """A file of each kind, a text and a number, as one node's output."""
    seed, folder = call.inputs["seed"], call.equipment.folders.base / "output"
    told = {"text": [f"a text of {seed}"], "animated": [True], "numbers": [seed]}
    for kind, ending in KINDS.items():
        number = len(list(folder.glob(f"{kind}_*"))) + 1
        name = f"{kind}_{number:05}_.{ending}"
        (folder / name).write_bytes(content(kind, seed))
        told[kind] = [{"filename": name, "subfolder": "", "type": "output", "format": ending}]
    return NodeResult((), told)


SAVE_ALL = NodeClass(
    NodeDefinition(
        name="SaveAll",
        category="testing",
        required={"seed": ["INT", {"default": 0, "min": 0, "max": 2**53}]},
        output=(),
        output_node=True,
        python_module="custom_nodes.save_all",
    ),
    _save_all,
)


async def test_every_kind_keeps_its_name_and_its_content(tmp_path):
    options = [{"extra_nodes": [SAVE_ALL]}] * 3
    async with running_pool(tmp_path, 3, options=options) as pool, Client.connected(pool.base) as client:
        for simulator in pool.simulators:
            simulator.pause()
        graphs = {seed: {"1": {"class_type": "SaveAll", "inputs": {"seed": seed}}} for seed in range(1, 10)}
        ids = {seed: await client.submit(graph) for seed, graph in graphs.items()}
        for simulator in pool.simulators:
            await simulator.held()
            simulator.resume()
        await hear_ends(client, ids.values())
        names = set()
        for seed, job_id in ids.items():
            (told,) = (await client.history(job_id))["outputs"].values()
            assert (told["text"], told["animated"], told["numbers"]) == ([f"a text of {seed}"], [True], [seed])
            for kind, ending in KINDS.items():
                (item,) = told[kind]
                assert item["format"] == ending
                names.add(item["filename"])
                place = {key: item[key] for key in ("filename", "subfolder", "type")}
                assert await client.view(**place) == content(kind, seed)
        assert len(names) == len(KINDS) * len(ids)
        assert all(len(simulator.executed) for simulator in pool.simulators)


async def test_frames_of_tens_of_megabytes_reach_their_client_whole_and_in_order(tmp_path):
    """A saver of full pictures over the websocket, as SaveImageWebsocket, of 8K size."""
    sizes = [40 * MEGABYTE, 1_000, 25 * MEGABYTE]
    pictures = [bytes([number]) * size for number, size in enumerate(sizes)]

    async def send(call):
        for number, picture in enumerate(pictures):
            call.progress(number, len(pictures), b"\x89PNG" + picture)
        return NodeResult()

    sender = NodeClass(
        NodeDefinition(name="SendLarge", category="testing", output=(), output_node=True, python_module="nodes"), send
    )
    async with (
        running_pool(tmp_path, 1, options=[{"extra_nodes": [sender]}]) as pool,
        Client.connected(pool.base) as client,
        asyncio.timeout(60),
    ):
        job_id = await client.submit({"1": {"class_type": "SendLarge", "inputs": {}}})
        heard = []
        while not isinstance(frame := await client.hear(), dict) or not (
            frame["type"] == "executing" and frame["data"].get("node") is None and frame["data"]["prompt_id"] == job_id
        ):
            if isinstance(frame, bytes):
                heard.append(frames.decode_preview(frame).image)
        assert [len(each) for each in heard] == [4 + size for size in sizes]
        assert heard == [b"\x89PNG" + picture for picture in pictures]
        small = await client.submit(save_graph(1))  # and the link goes on
        await client.hear_end(small)
