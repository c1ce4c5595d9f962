"""Placeholders in a graph: which there are, whether a form's fields suit them, and filling them in. Pure.

    placeholder       what it becomes
    $text(key)        the text of the form field `$key`, as it is: ComfyUI casts it to what the input wants
    $file(name)       the name under which the file of the form field `$name` is kept
    #choice(name)     the text of the form field `#name`
    $random()         a random integer of 64 bits, another one at each place
    $timestamp()      milliseconds since the epoch, the same at each place

A placeholder is a whole string among a node's inputs, at any depth; within a longer text it is text, and so is what has
been filled in. Source: ComfyControl, Placeholders.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any, Final

from gateway.comfyui import graph as graphs

KEY_CHARACTERS_MOST: Final = 255
RANDOM_BITS: Final = 64
DEEPEST: Final = 100  # levels in an input's value; no node nests further

_PLACEHOLDER: Final = re.compile(r"(\$text|\$file|#choice)\(([^()]*)\)|(\$random|\$timestamp)\(\)")
_FILE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")  # dots as in older examples: $file(input_image.png)


class WorkflowRefused(Exception):
    """A workflow or its fields are not as they must be: a 400, whose message says what is wrong where."""


class Kind(StrEnum):
    """What a placeholder asks for; the value is how it is written."""

    TEXT = "$text"
    FILE = "$file"
    CHOICE = "#choice"
    RANDOM = "$random"
    TIMESTAMP = "$timestamp"


GIVEN: Final = frozenset({Kind.TEXT, Kind.FILE, Kind.CHOICE})  # by the caller; the others are drawn


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One placeholder; ``key`` is "" where its kind has none."""

    kind: Kind
    key: str = ""

    @property
    def literal(self) -> str:
        """As it stands in a graph."""
        return f"{self.kind}({self.key})"

    @property
    def field(self) -> str:
        """The form field that gives its value."""
        return f"{self.kind[0]}{self.key}"


@dataclass(frozen=True, slots=True)
class Field:
    """A form field for a placeholder, by its name with ``$`` or ``#``; a file's content is kept elsewhere."""

    name: str
    is_file: bool = False


def graph_of(value: object, where: str = "workflow_json") -> dict[str, Any]:
    """A graph in API format. Raises WorkflowRefused for anything else, with a word for what the editor saves."""
    if not isinstance(value, dict):
        raise WorkflowRefused(f"{where} must be a JSON object: a workflow in API format")
    if isinstance(value.get("nodes"), list) and ("links" in value or "last_node_id" in value or "version" in value):
        raise WorkflowRefused(
            f"{where} is in the editor's format (it has a list of nodes); "
            "export it in API format instead: Workflow > Export (API)"
        )
    if not value:
        raise WorkflowRefused(f"{where} has no nodes")
    for node_id, node in value.items():
        if not isinstance(node, dict) or not isinstance(node.get("class_type"), str):
            raise WorkflowRefused(f"{where} is not in API format: node {node_id!r} has no class_type")
        if not isinstance(node.get("inputs", {}), dict):
            raise WorkflowRefused(f"{where} is not in API format: the inputs of node {node_id!r} are no object")
    return value


def placeholder_of(value: object) -> Placeholder | None:
    """The placeholder that a value is, or None. Raises WorkflowRefused for one whose key breaks its rules."""
    match = _PLACEHOLDER.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    if match[3] is not None:
        return Placeholder(Kind(match[3]))
    kind, key = Kind(match[1]), match[2]
    if not 0 < len(key) <= KEY_CHARACTERS_MOST:
        raise WorkflowRefused(f"{value}: the name must have 1 to {KEY_CHARACTERS_MOST} characters")
    if kind is Kind.FILE and not _FILE_KEY.fullmatch(key):
        raise WorkflowRefused(f"{value}: the name may have letters, digits, '-', '_' and '.' only")
    return Placeholder(kind, key)


def placeholders(graph: Mapping[str, Any]) -> list[Placeholder]:
    """Every placeholder of a graph once, in the graph's order. Raises WorkflowRefused."""
    found: dict[Placeholder, None] = {}
    for value in _strings(graph):
        placeholder = placeholder_of(value)
        if placeholder is not None:
            found[placeholder] = None
    return list(found)


def asked_for(graph: Mapping[str, Any]) -> list[Placeholder]:
    """Those that the caller gives a value for. Raises WorkflowRefused."""
    return [placeholder for placeholder in placeholders(graph) if placeholder.kind in GIVEN]


def check_fields(asked: Iterable[Placeholder], fields: Sequence[Field]) -> None:
    """Raises WorkflowRefused unless each placeholder has its field, each field its placeholder, and is given once."""
    wanted = {Field(placeholder.field, placeholder.kind is Kind.FILE): placeholder for placeholder in asked}
    given: set[Field] = set()
    for field in fields:
        if field in given:
            raise WorkflowRefused(f"field {field.name} is given twice")
        given.add(field)
        if field not in wanted:
            raise WorkflowRefused(_unwanted(field, wanted))
    for field, placeholder in wanted.items():
        if field not in given:
            what = "file field" if field.is_file else "field"
            raise WorkflowRefused(f"missing {what} {field.name}: the workflow has {placeholder.literal}")


def fill(graph: Mapping[str, Any], values: Mapping[str, str], *, random: Random, timestamp_ms: int) -> dict[str, Any]:
    """The graph to run. The same arguments, and the same state of ``random``, give the same graph.

    Args:
        graph: as ``graph_of`` takes it; it is left alone.
        values: of the placeholders that the caller gives, by their literals.
        random: where `$random()` is drawn from, in the graph's order.
        timestamp_ms: `$timestamp()`, milliseconds since the epoch.

    Raises WorkflowRefused for a placeholder without a value.
    """
    drawn: set[int] = set()

    def filled(value: str) -> Any:
        placeholder = placeholder_of(value)
        if placeholder is None:
            return value
        if placeholder.kind is Kind.RANDOM:
            return _another(random, drawn)
        if placeholder.kind is Kind.TIMESTAMP:
            return timestamp_ms
        if placeholder.literal not in values:
            raise WorkflowRefused(f"missing field {placeholder.field}: the workflow has {placeholder.literal}")
        return values[placeholder.literal]

    made = dict(graph)
    for node_id, node in graph.items():
        if isinstance(node.get("inputs"), dict):
            inputs = {name: _mapped(value, filled, 0) for name, value in node["inputs"].items()}
            made[node_id] = {**node, "inputs": inputs}
    return made


def _unwanted(field: Field, wanted: Mapping[Field, Placeholder]) -> str:
    other = wanted.get(Field(field.name, not field.is_file))
    if other is not None:
        sent, needed = ("a file", "a text") if field.is_file else ("a text", "a file")
        return f"field {field.name} is {sent}; {other.literal} needs {needed}"
    return f"unknown field {field.name}: the workflow has no placeholder for it"


def _another(random: Random, drawn: set[int]) -> int:
    while (number := random.getrandbits(RANDOM_BITS)) in drawn:
        pass
    drawn.add(number)
    return number


def _strings(graph: Mapping[str, Any]) -> Iterator[str]:
    """The strings among the inputs, in the order in which ``fill`` comes upon them."""
    found: list[str] = []

    def note(value: str) -> str:
        found.append(value)
        return value

    for node in graph.values():
        for value in (node.get("inputs") or {}).values():
            _mapped(value, note, 0)
            yield from found
            found.clear()


def _mapped(value: Any, change: Any, depth: int) -> Any:
    if depth > DEEPEST:
        raise WorkflowRefused(f"an input is nested more than {DEEPEST} levels deep")
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        if graphs.link_of(value) is not None:
            return value
        return [_mapped(item, change, depth + 1) for item in value]
    if isinstance(value, dict):
        return {key: _mapped(item, change, depth + 1) for key, item in value.items()}
    return value
