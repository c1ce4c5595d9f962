"""Graphs for scenes. Those of `here` run on the one runner of a pool that has the node class OnlyHere, so that a scene
about queues is the same over one runner and over three; those of `support.graphs` run anywhere."""

from __future__ import annotations

from typing import Any

from support.graphs import save_graph

ONLY_HERE = "OnlyHere"  # on the first runner only
PREFIX = "{scene}"


def here(seed: int, *, steps: int = 2, fail_at: int = -1, **more: Any) -> dict[str, Any]:
    """EmptyImage (1) -> ProgressProbe (2) -> OnlyHere (4) -> SaveImage (3), and what else is given, by node id."""
    graph = save_graph(seed, steps=steps, prefix=PREFIX, fail_at=fail_at)
    graph["4"] = node(ONLY_HERE, image=["2", 0])
    graph["3"]["inputs"]["images"] = ["4", 0]
    return graph | more


def anywhere(seed: int, *, steps: int = 2) -> dict[str, Any]:
    """The same for any runner."""
    return save_graph(seed, steps=steps, prefix=PREFIX)


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    """One node."""
    return {"class_type": class_type, "inputs": inputs}


def preview(seed: int) -> dict[str, Any]:
    """The picture goes to the temp folder."""
    return here(seed) | {"3": node("PreviewImage", images=["4", 0])}


def two_outputs(seed: int) -> dict[str, Any]:
    """A second SaveImage (5) with a prefix of its own."""
    return here(seed) | {"5": node("SaveImage", images=["4", 0], filename_prefix=f"{PREFIX}-five")}


def partly_valid(seed: int) -> dict[str, Any]:
    """The second output (5) lacks its pictures."""
    return here(seed) | {"5": node("SaveImage", filename_prefix=f"{PREFIX}-five")}


def load(image: str) -> dict[str, Any]:
    """LoadImage (1) -> OnlyHere (2) -> SaveImage (3)."""
    return {
        "1": node("LoadImage", image=image),
        "2": node(ONLY_HERE, image=["1", 0]),
        "3": node("SaveImage", images=["2", 0], filename_prefix=PREFIX),
    }


def load_anywhere(image: str) -> dict[str, Any]:
    """LoadImage (1) -> SaveImage (3)."""
    return {"1": node("LoadImage", image=image), "3": node("SaveImage", images=["1", 0], filename_prefix=PREFIX)}


def to_websocket(seed: int) -> dict[str, Any]:
    """The picture goes to the client as a binary frame."""
    return here(seed) | {"3": node("SaveImageWebsocket", images=["4", 0])}


def sampled(seed: int) -> dict[str, Any]:
    """The stock frontend's default graph, in short."""
    return {
        "1": node("CheckpointLoaderSimple", ckpt_name="v1-5-pruned-emaonly-fp16.safetensors"),
        "2": node("CLIPTextEncode", text="a lake", clip=["1", 1]),
        "3": node("EmptyLatentImage", width=64, height=64, batch_size=2),
        "4": node(
            "KSampler",
            model=["1", 0],
            positive=["2", 0],
            negative=["2", 0],
            latent_image=["3", 0],
            seed=seed,
            steps=3,
            cfg=7.0,
            sampler_name="euler",
            scheduler="normal",
            denoise=1.0,
        ),
        "5": node("VAEDecode", samples=["4", 0], vae=["1", 2]),
        "6": node("SaveImage", images=["5", 0], filename_prefix=PREFIX),
    }
