"""Subgraph blueprints that come with a simulated runner, as a real one brings those of its templates package."""

import json
from typing import Any

BLUEPRINT_ID = "5b6af9c9009bce5b99feea5972e59ba616434536b9e473afdace7d907337ddc9"
_SUBGRAPH_ID = "0f4c3c8e-6f6b-4a52-9d2e-3b1f6d1c7a10"
_NAME = "Negative"
_INPUT_NODE, _OUTPUT_NODE = -10, -20  # how the frontend numbers the ends of a subgraph

BLUEPRINTS: dict[str, dict[str, Any]] = {
    BLUEPRINT_ID: {"source": "templates", "name": _NAME, "info": {"node_pack": "comfyui"}}
}
"""What /global_subgraphs lists."""


def blueprint_workflow() -> str:
    """The blueprint's workflow as JSON: a root graph of one node, which is a subgraph around ImageInvert."""
    ends = {"type": "IMAGE", "name": "image"}
    inner = {
        "id": 1,
        "type": "ImageInvert",
        "pos": [320, 200],
        "size": [210, 30],
        "flags": {},
        "order": 0,
        "mode": 0,
        "inputs": [{"name": "image", "type": "IMAGE", "link": 1}],
        "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [2]}],
        "properties": {},
        "widgets_values": [],
    }
    links = [
        {"id": 1, "origin_id": _INPUT_NODE, "origin_slot": 0, "target_id": 1, "target_slot": 0, "type": "IMAGE"},
        {"id": 2, "origin_id": 1, "origin_slot": 0, "target_id": _OUTPUT_NODE, "target_slot": 0, "type": "IMAGE"},
    ]
    subgraph = {
        "id": _SUBGRAPH_ID,
        "version": 1,
        "revision": 0,
        "config": {},
        "name": _NAME,
        "state": {"lastGroupId": 0, "lastNodeId": 1, "lastLinkId": 2, "lastRerouteId": 0},
        "inputNode": {"id": _INPUT_NODE, "bounding": [100, 200, 120, 60]},
        "outputNode": {"id": _OUTPUT_NODE, "bounding": [640, 200, 120, 60]},
        "inputs": [{"id": "7d0f5a1c-58c4-4e0e-8a07-0d3b6d4a2a01", **ends, "linkIds": [1]}],
        "outputs": [{"id": "7d0f5a1c-58c4-4e0e-8a07-0d3b6d4a2a02", **ends, "linkIds": [2]}],
        "widgets": [],
        "nodes": [inner],
        "groups": [],
        "links": links,
        "extra": {},
    }
    root = {
        "id": 1,
        "type": _SUBGRAPH_ID,
        "pos": [0, 0],
        "size": [210, 30],
        "flags": {},
        "order": 0,
        "mode": 0,
        "inputs": [{**ends, "link": None}],
        "outputs": [{**ends, "links": []}],
        "properties": {},
        "widgets_values": [],
    }
    workflow = {
        "revision": 0,
        "last_node_id": 1,
        "last_link_id": 0,
        "nodes": [root],
        "links": [],
        "version": 0.4,
        "definitions": {"subgraphs": [subgraph]},
        "extra": {},
    }
    return json.dumps(workflow)
