"""Graphs of files for the command line: reading one, and setting its inputs. No I/O but reading the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NAMED_MOST = 20  # nodes or inputs in a message

Graph = dict[str, dict[str, Any]]


class GraphError(ValueError):
    """What is wrong with a file or a --set, in one line."""


def read_graph(file: Path) -> Graph:
    """The graph of a file in ComfyUI's API format, bare or as the ``prompt`` of a request. Raises GraphError."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise GraphError(f"{file}: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise GraphError(f"{file} is not valid JSON") from None
    if isinstance(value, dict) and isinstance(value.get("prompt"), dict):
        value = value["prompt"]
    if isinstance(value, dict) and isinstance(value.get("nodes"), list):
        raise GraphError(
            f"{file} is a workflow in the format of ComfyUI's editor; save it with Export (API), which is what runs"
        )
    if not isinstance(value, dict) or not value:
        raise GraphError(f"{file} is no graph in API format: an object of nodes by their ids")
    for node_id, node in value.items():
        if not isinstance(node, dict) or not isinstance(node.get("class_type"), str):
            raise GraphError(f"{file} is no graph in API format: node {node_id} has no class_type")
    return value


def apply(graph: Graph, setting: str) -> None:
    """Carries out one ``NODE.INPUT=VALUE``; the value is JSON where it is valid JSON, else text. Raises GraphError."""
    place, equals, text = setting.partition("=")
    if not equals or "." not in place:
        raise GraphError(f"--set {setting}: write NODE.INPUT=VALUE, like 6.text='a cat'")
    node_id, name = _place(graph, place)
    node = graph[node_id]
    inputs = node.get("inputs")
    if not isinstance(inputs, dict) or name not in inputs:
        known = _listed(inputs if isinstance(inputs, dict) else {})
        raise GraphError(f"--set {place}: node {node_id} ({node['class_type']}) has no input {name}; it has {known}")
    inputs[name] = _value(text)


def _place(graph: Graph, place: str) -> tuple[str, str]:
    """A node's id may have dots of its own: the longest that there is counts."""
    cuts = [index for index, character in enumerate(place) if character == "."]
    for cut in reversed(cuts):
        if place[:cut] in graph:
            return place[:cut], place[cut + 1 :]
    raise GraphError(f"--set {place}: there is no node {place[: cuts[0]]}; there are {_listed(graph)}")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _listed(names: dict[str, Any]) -> str:
    shown = list(names)[:NAMED_MOST]
    return (", ".join(shown) + (" …" if len(names) > len(shown) else "")) or "none"


def described(refusal: Any, status: int) -> list[str]:
    """A refusal of ``POST /prompt``, line by line: what is wrong, then node by node."""
    error = refusal.get("error") if isinstance(refusal, dict) else None
    if not isinstance(error, dict):
        return [str(error or f"the gateway answered {status}")]
    lines = [_sentence(error)]
    node_errors = refusal.get("node_errors")
    for node_id, node in (node_errors if isinstance(node_errors, dict) else {}).items():
        for each in node.get("errors") or ():
            lines.append(f"node {node_id} ({node.get('class_type')}): {_sentence(each)}")
    return lines


def _sentence(error: dict[str, Any]) -> str:
    message, details = str(error.get("message") or error.get("type") or "refused"), str(error.get("details") or "")
    return f"{message}: {details}" if details and details != message else message
