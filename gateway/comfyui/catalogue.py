"""What a runner can run, read from its `/object_info`: node classes and the values of their combo inputs.

How definitions are written is `definitions`'; merging the runners' answers into one is `object_info`'s (its functions
are offered here too); judging a whole prompt is `validation`'s.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.comfyui import definitions, graph
from gateway.comfyui.object_info import Conflict, conflicts, merge, with_upload_options

__all__ = [
    "Catalogue",
    "ComboInput",
    "Conflict",
    "Missing",
    "NodeClass",
    "conflicts",
    "merge",
    "missing_from",
    "parse",
    "with_upload_options",
]


@dataclass(frozen=True, slots=True)
class ComboInput:
    """An input with a list of values. `config` is its definition as the runner gave it, for error bodies."""

    options: tuple[Any, ...]
    is_upload: bool = False
    remote: bool = False
    multiselect: bool = False
    config: Any = field(default=None, compare=False, repr=False)
    _hashable: frozenset[Any] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hashable", frozenset(option for option in self.options if _is_hashable(option)))

    @property
    def is_constraint(self) -> bool:
        """Whether the list decides what may run: not where clients upload into it or fetch it from elsewhere."""
        return not (self.is_upload or self.remote)

    def accepts(self, value: object) -> bool:
        """Whether a runner may take this value: it is listed, or the list is no constraint.

        Equality is Python's, as in ComfyUI's validate_inputs: True is 1.
        """
        if not self.is_constraint:
            return True
        return value in self._hashable if _is_hashable(value) else value in self.options

    def refused(self, value: object) -> list[Any]:
        """Those of an input's values that are not accepted; links are no values and never refused."""
        if isinstance(value, list):
            return []
        value = graph.unwrapped(value)
        values = value if self.multiselect and isinstance(value, list) else [value]
        return [single for single in values if not self.accepts(single)]


@dataclass(frozen=True, slots=True)
class NodeClass:
    """A node class of one runner; `inputs` are all names in the definition's order, `required` those it needs;
    `outputs` are the types of what it gives out."""

    name: str
    python_module: str
    output_node: bool
    combos: Mapping[str, ComboInput]
    required: frozenset[str]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All node classes of one runner, by name."""

    classes: Mapping[str, NodeClass]


@dataclass(frozen=True, slots=True)
class Missing:
    """What a runner lacks for a prompt: a class (`input` and `value` None) or one value of a combo input."""

    node_id: str
    class_type: str
    input: str | None
    value: Any


def parse(object_info: Mapping[str, Any]) -> Catalogue:
    """The catalogue in an `/object_info` answer; definitions that can't be read are left out."""
    return Catalogue(
        {
            name: _node_class(name, definition)
            for name, definition in object_info.items()
            if isinstance(definition, Mapping)
        }
    )


def missing_from(catalogue: Catalogue, prompt: object, *, provided: Container[Any] = ()) -> list[Missing]:
    """The classes and combo values that the prompt names and the runner lacks; empty if it can run it.

    Values in `provided` are never missing: files that the gateway will bring, for the nodes that list their inputs'
    folder without an upload flag.
    """
    missing: list[Missing] = []
    for node_id, class_type, inputs in graph.nodes(prompt):
        node_class = catalogue.classes.get(class_type)
        if node_class is None:
            missing.append(Missing(node_id, class_type, None, None))
            continue
        for name, combo in node_class.combos.items():
            if name in inputs:
                refused = combo.refused(inputs[name])
                missing.extend(
                    Missing(node_id, class_type, name, value)
                    for value in refused
                    if not (_is_hashable(value) and value in provided)
                )
    return missing


def _node_class(name: str, definition: Mapping[str, Any]) -> NodeClass:
    specs = list(definitions.input_specs(definition))
    given = definition.get("output")
    return NodeClass(
        name=name,
        python_module=str(definition.get("python_module", "")),
        output_node=definition.get("output_node") is True,
        combos={key: combo for _, key, spec in specs if (combo := _combo(spec)) is not None},
        required=frozenset(
            key for section, key, spec in specs if section == "required" and not definitions.is_dynamic(spec)
        ),
        inputs=tuple(key for _, key, _ in specs),
        outputs=tuple(kind for kind in given if isinstance(kind, str)) if isinstance(given, list) else (),
    )


def _combo(spec: list[Any]) -> ComboInput | None:
    values = definitions.combo_options(spec)
    if values is None:
        return None
    options = definitions.spec_options(spec)
    return ComboInput(
        options=tuple(values),
        is_upload=definitions.upload_flag(spec) is not None,
        remote=bool(options.get("remote")),
        multiselect=bool(options.get("multiselect")),
        config=[spec[0], options],
    )


def _is_hashable(value: object) -> bool:
    return not isinstance(value, list | dict)
