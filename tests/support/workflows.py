"""Workflows as the frontend saves them; `graphs` has prompts as the API takes them."""

from typing import Any

PROBE, SAVE = 2, 3  # ids of the nodes of `batch`
LOAD, PREVIEW = 1, 3  # ids of the nodes of `negative`


def batch(seed: int, *, fail_at: int = -1) -> dict[str, Any]:
    """EmptyImage -> ProgressProbe -> SaveImage; the seed goes up by one with every prompt of a batch."""
    return _chain(
        ("EmptyImage", [128, 128, 1, 0]),
        ("ProgressProbe", [4, 0, seed, "increment", fail_at]),
        ("SaveImage", ["batch"]),
    )


def negative(image: str) -> dict[str, Any]:
    """LoadImage -> ImageInvert -> PreviewImage."""
    return _chain(("LoadImage", [image, "image"]), ("ImageInvert", []), ("PreviewImage", []))


def _chain(*nodes: tuple[str, list[Any]]) -> dict[str, Any]:
    """Nodes side by side, each with one picture in and one out; the first takes none."""
    made, links = [], []
    for number, (kind, values) in enumerate(nodes, 1):
        before, after = number > 1, number < len(nodes)
        node: dict[str, Any] = {
            "id": number,
            "type": kind,
            "pos": [60 + 330 * number, 300],
            "size": [300, 320],
            "flags": {},
            "order": number - 1,
            "mode": 0,
            "inputs": [],
            "outputs": [],
            "properties": {"Node name for S&R": kind},
            "widgets_values": values,
        }
        if before:
            name = "images" if kind in ("SaveImage", "PreviewImage") else "image"
            node["inputs"] = [{"name": name, "type": "IMAGE", "link": number - 1}]
        if after:
            links.append([number, number, 0, number + 1, 0, "IMAGE"])
            node["outputs"] = [{"name": "IMAGE", "type": "IMAGE", "links": [number], "slot_index": 0}]
        made.append(node)
    return {
        "last_node_id": len(made),
        "last_link_id": len(links),
        "nodes": made,
        "links": links,
        "groups": [],
        "config": {},
        "extra": {},
        "version": 0.4,
    }
