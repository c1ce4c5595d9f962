"""Reading and rewriting prompts (graphs in API form): `{node_id: {"class_type": str, "inputs": {name: value}}}`.

Nothing here judges a prompt: whatever is not shaped like a node is skipped, and no function raises on any JSON value.
What a class is and what its inputs mean is the catalogue's.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from gateway.comfyui import names

_LONGEST_FILE_NAME: Final = 255  # bytes, what common file systems take
_LONGEST_PATH: Final = 1024  # characters
_CONTROL_CHARACTER: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Link:
    """An input that is fed by another node's output."""

    node_id: str
    output: int


@dataclass(frozen=True, slots=True)
class FileReference:
    """A string in the prompt that could name a file; `path` leads to it inside the input's value, () is the value."""

    node_id: str
    name: str
    value: str
    file: names.AnnotatedName
    path: tuple[int | str, ...] = ()


def nodes(prompt: object) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every well-formed node as (node id, class type, inputs); inputs that are no object count as none."""
    if not isinstance(prompt, dict):
        return
    for node_id, node in prompt.items():
        if not isinstance(node, dict):
            continue
        class_type, inputs = node.get("class_type"), node.get("inputs")
        if isinstance(class_type, str):
            yield str(node_id), class_type, inputs if isinstance(inputs, dict) else {}


def link_of(value: object) -> Link | None:
    """The link that an input's value is, or None. `[node id, output index]` is one, as in ComfyUI's is_link."""
    return Link(*value) if isinstance(value, list) and is_link(value) else None


def is_link(value: object) -> bool:
    """Whether `link_of` finds one."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int)
        and not isinstance(value[1], bool)
    )


def unwrapped(value: object) -> object:
    """A widget's own value: lists travel as `{"__value__": [...]}`, because a bare list is a link."""
    if isinstance(value, dict) and "__value__" in value:
        return value["__value__"]
    return value


def class_types(prompt: object) -> frozenset[str]:
    """The node classes that the prompt names."""
    return frozenset(class_type for _, class_type, _ in nodes(prompt))


def file_references(prompt: object) -> list[FileReference]:
    """Every string in a literal input that could name a file, also inside lists and objects.

    Whether there is such a file is the caller's to look up; texts that can't be a path (line breaks, too long, leaving
    their folder) are left out.
    """
    return [
        FileReference(node_id, str(name), value, file, path)
        for node_id, _, inputs in nodes(prompt)
        for name, literal in inputs.items()
        if isinstance(literal, str | list | dict) and not is_link(literal)
        for path, value in _strings(literal)
        if (file := _file_named(value)) is not None
    ]


def replace_inputs(prompt: Any, replacements: Mapping[tuple[str, str], Any]) -> Any:
    """The prompt with whole input values replaced, given as `{(node id, input name): new value}`.

    Copies only what changes; the same object if nothing does. Inputs that the prompt doesn't have are not added.
    """
    changed: dict[str, Any] = {}
    for (node_id, name), value in replacements.items():
        if not isinstance(prompt, dict) or not _has_input(prompt.get(node_id), name):
            continue
        node = changed.setdefault(node_id, _node_copy(prompt[node_id]))
        node["inputs"][name] = value
    return {**prompt, **changed} if changed else prompt


def changed_files(prompt: Any, became: Any) -> dict[tuple[str, str], Any]:
    """The inputs of a prompt that name files and are others in what it became: `{(node id, input name): its value}`."""
    found: dict[tuple[str, str], Any] = {}
    for reference in file_references(prompt) if isinstance(became, dict) else ():
        there: Any = became.get(reference.node_id)
        looks_like_one = "." in reference.file.filename or reference.value.endswith("]")
        value = prompt[reference.node_id]["inputs"][reference.name]
        if looks_like_one and _has_input(there, reference.name) and there["inputs"][reference.name] != value:
            found[reference.node_id, reference.name] = value
    return found


def replace_references(prompt: Any, replacements: Iterable[tuple[FileReference, str]]) -> Any:
    """The prompt with single strings replaced, also those inside a list; copies only what changes."""
    values: dict[tuple[str, str], Any] = {}
    for reference, new in replacements:
        key = (reference.node_id, reference.name)
        if isinstance(prompt, dict) and _has_input(prompt.get(reference.node_id), reference.name):
            current = values.get(key, prompt[reference.node_id]["inputs"][reference.name])
            values[key] = _with_value_at(current, reference.path, new)
    return replace_inputs(prompt, values)


def _has_input(node: object, name: str) -> bool:
    return isinstance(node, dict) and isinstance(node.get("inputs"), dict) and name in node["inputs"]


def _node_copy(node: dict[str, Any]) -> dict[str, Any]:
    return {**node, "inputs": dict(node["inputs"])}


def _strings(value: object) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """Every string in a value with the path to it, in order. A stack, because nesting may be deeper than Python's."""
    if isinstance(value, str):
        yield (), value
        return
    pending: list[tuple[tuple[int | str, ...], object]] = [((), value)]
    while pending:
        path, current = pending.pop()
        if isinstance(current, str):
            yield path, current
        elif isinstance(current, list):
            pending.extend(((*path, index), item) for index, item in reversed(list(enumerate(current))))
        elif isinstance(current, dict):
            pending.extend(((*path, key), item) for key, item in reversed(current.items()))


def _file_named(value: str) -> names.AnnotatedName | None:
    return _short_file_named(value) if 0 < len(value) <= _LONGEST_PATH else None


@lru_cache(maxsize=4096)  # most words of graphs come again and again
def _short_file_named(value: str) -> names.AnnotatedName | None:
    if _CONTROL_CHARACTER.search(value):
        return None
    file = names.parse_annotated(value)
    if len(file.filename.encode(errors="replace")) > _LONGEST_FILE_NAME:
        return None
    return file if names.is_safe_upload(file.filename, file.subfolder) else None


def _with_value_at(value: Any, path: tuple[int | str, ...], new: str) -> Any:
    if not path:
        return new
    containers = [value]
    for key in path[:-1]:
        containers.append(containers[-1][key])
    replaced: Any = new
    for container, key in zip(reversed(containers), reversed(path), strict=True):
        copied = container.copy()
        copied[key] = replaced
        replaced = copied
    return replaced
