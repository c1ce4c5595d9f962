"""A mark on the output nodes of a graph, so that a runner's cache does not give one owner what it made for another.

Runners keep the results of nodes by what went into them, whoever asked. Two owners' models and pictures in memory may
be the same, but what is written holds the workflow of whoever wrote it (ComfyUI nodes.py SaveImage, hidden
EXTRA_PNGINFO). The mark is one more input: nodes are not given what they do not declare, and it is part of the cache's
key (comfy_execution/caching.py CacheKeySetInputSignature).
"""

from collections.abc import Mapping
from typing import Any, Final

from gateway.comfyui import graph

MARK: Final = "gateway_owner"
_WRITTEN_BY: Final = frozenset({"PROMPT", "EXTRA_PNGINFO"})  # types of the hidden inputs that a file is marked with


def marked(prompt: Any, definitions: Mapping[str, Any], mark: str) -> Any:
    """The prompt with the mark on every output node that writes its graph into files. Copies only what changes.

    Args:
        prompt: a graph.
        definitions: the runner's `/object_info`.
        mark: the same for each prompt of one owner.
    """
    writers = [node_id for node_id, class_type, _ in graph.nodes(prompt) if _writes(definitions.get(class_type))]
    if not writers:
        return prompt
    changed = {node_id: _with_inputs(prompt[node_id], {**_inputs(prompt[node_id]), MARK: mark}) for node_id in writers}
    return {**prompt, **changed}


def unmarked(prompt: Any) -> Any:
    """The prompt without marks. Copies only what changes."""
    changed = {
        node_id: _with_inputs(prompt[node_id], {name: value for name, value in inputs.items() if name != MARK})
        for node_id, _, inputs in graph.nodes(prompt)
        if MARK in inputs
    }
    return {**prompt, **changed} if changed else prompt


def _writes(definition: Any) -> bool:
    if not isinstance(definition, dict) or not definition.get("output_node"):
        return False
    inputs = definition.get("input")
    hidden = inputs.get("hidden") if isinstance(inputs, dict) else None
    return isinstance(hidden, dict) and any(
        (kind[0] if isinstance(kind, list) and kind else kind) in _WRITTEN_BY for kind in hidden.values()
    )


def _inputs(node: dict[str, Any]) -> dict[str, Any]:
    inputs = node.get("inputs")
    return inputs if isinstance(inputs, dict) else {}


def _with_inputs(node: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    return {**node, "inputs": inputs}
