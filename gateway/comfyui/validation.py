"""The gateway's own checks of a prompt, for when no runner can be asked.

They follow ComfyUI 0.33's validation (execution.py validate_prompt, validate_inputs) as far as a catalogue reaches, and
only refuse what every known catalogue would refuse: values' ranges, types of links and custom checks stay the runner's.
Without any catalogue only the graph's structure is checked.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.comfyui import graph
from gateway.comfyui.catalogue import Catalogue, ComboInput, NodeClass
from gateway.comfyui.errors import error

Error = dict[str, Any]
Verdict = tuple[Error | None, dict[str, Any], list[str]]

_LONGEST_LIST_SHOWN: Final = 20  # options; ComfyUI only counts longer lists
_LONGEST_CYCLE_SHOWN: Final = 100  # nodes
_MOST_DEPENDENTS: Final = (
    100  # outputs listed at each error, so that a huge broken graph has no answer of its size squared
)


def check(prompt: object, partial_targets: object, catalogues: Sequence[Catalogue]) -> Verdict:
    """Judge a prompt: (error or None, node_errors, outputs to execute).

    With an error the prompt is refused and there are no outputs; without one, `node_errors` names the outputs that are
    left out. `partial_targets` is the request's `partial_execution_targets`, None for all outputs. Of several
    catalogues the one that takes most decides. Never raises.
    """
    if not isinstance(prompt, dict):
        return _no_outputs(), {}, []
    unreadable = _first_unreadable(prompt)
    if unreadable is not None:
        return unreadable, {}, []
    targets = partial_targets if isinstance(partial_targets, list) else None
    if not catalogues:
        return min((_judge(outputs, prompt, targets, None) for outputs in _possible_outputs(prompt)), key=_badness)
    return min((_check_against(prompt, targets, catalogue) for catalogue in catalogues), key=_badness)


def _check_against(prompt: dict[str, Any], targets: Container[Any] | None, catalogue: Catalogue) -> Verdict:
    missing = _first_missing(prompt, catalogue)
    if missing is not None:
        return missing, {}, []
    outputs = [node_id for node_id, name, _ in graph.nodes(prompt) if catalogue.classes[name].output_node]
    return _judge(outputs, prompt, targets, catalogue)


def _possible_outputs(prompt: dict[str, Any]) -> Iterator[list[str]]:
    """What may be the output nodes where no catalogue says it: the nodes that no other uses, or else any."""
    links = (graph.link_of(value) for _, _, inputs in graph.nodes(prompt) for value in inputs.values())
    used = {link.node_id for link in links if link is not None}
    yield [node_id for node_id in prompt if node_id not in used]
    yield list(prompt)


def _badness(verdict: Verdict) -> tuple[int, int]:
    """Accepted before refused, refused for its inputs before refused for its classes, then by the number of nodes."""
    refused, node_errors, _ = verdict
    if refused is None:
        return 0, len(node_errors)
    return (1, len(node_errors)) if node_errors else (2, 0)


def _judge(
    outputs: list[str], prompt: dict[str, Any], targets: Container[Any] | None, catalogue: Catalogue | None
) -> Verdict:
    wanted = [node_id for node_id in outputs if targets is None or node_id in targets]
    if not wanted:
        return _no_outputs(), {}, []
    walk = _Walk(prompt, catalogue)
    good: list[str] = []
    details: list[str] = []
    node_errors: dict[str, Any] = {}
    failed = seen = 0
    for output in wanted:
        reasons = walk.errors_of(output)
        if output in walk.valid:
            good.append(output)
            continue
        failed += 1
        details += [f"{reason['message']}: {reason['details']}" for reason in reasons]
        # Like ComfyUI, each failed output is listed at all errors known so far; past a bound only at the new ones.
        for node_id in walk.faulty[0 if failed <= _MOST_DEPENDENTS else seen :]:
            entry = {"errors": walk.errors[node_id], "dependent_outputs": [], "class_type": walk.class_type(node_id)}
            node_errors.setdefault(node_id, entry)["dependent_outputs"].append(output)
        seen = len(walk.faulty)
    if good:
        return None, node_errors, good
    refused = error("prompt_outputs_failed_validation", "Prompt outputs failed validation", "\n".join(details))
    return refused, node_errors, []


def _no_outputs() -> Error:
    return error("prompt_no_outputs", "Prompt has no outputs")


def _first_unreadable(prompt: dict[str, Any]) -> Error | None:
    """The error of the first node that has no class; entries that are no objects at all count as such."""
    for node_id, node in prompt.items():
        if isinstance(node, dict) and isinstance(node.get("class_type"), str):
            continue
        title = _title(node)
        named = f"Node '{title or f'ID #{node_id}'}'"
        message = f"{named} has no class_type. The workflow may be corrupted or a custom node is missing."
        return _missing_node_type(message, node_id, None, title)
    return None


def _first_missing(prompt: dict[str, Any], catalogue: Catalogue) -> Error | None:
    for node_id, class_type, _ in graph.nodes(prompt):
        if class_type not in catalogue.classes:
            title = _title(prompt[node_id], class_type)
            message = f"Node '{title}' not found. The custom node may not be installed."
            return _missing_node_type(message, node_id, class_type, title)
    return None


def _missing_node_type(message: str, node_id: str, class_type: str | None, title: Any) -> Error:
    extra_info = {"node_id": node_id, "class_type": class_type, "node_title": title}
    return error("missing_node_type", message, f"Node ID '#{node_id}'", extra_info)


def _title(node: object, default: str | None = None) -> Any:
    meta = node.get("_meta") if isinstance(node, dict) else None
    return meta.get("title", default) if isinstance(meta, dict) else default


@dataclass(slots=True)
class _Step:
    """A node on the way down from an output: which input led to it, and what is still to be visited from it."""

    node_id: str
    came_from: "_Entry | None"
    pending: Iterator["_Entry"]
    sound: bool = True


@dataclass(frozen=True, slots=True)
class _Entry:
    """A link to follow: the input that holds it, and the node it names."""

    input: str
    link: list[Any]


@dataclass(slots=True)
class _Walk:
    """The validation of one prompt against one catalogue; what it found is kept between outputs.

    Its way is kept in a list: a chain of nodes may be longer than Python's stack is deep.
    """

    prompt: dict[str, Any]
    catalogue: Catalogue | None
    errors: dict[str, list[Error]] = field(default_factory=dict)
    valid: set[str] = field(default_factory=set)
    faulty: list[str] = field(default_factory=list)

    def class_type(self, node_id: str) -> str:
        return str(self.prompt[node_id]["class_type"])

    def errors_of(self, output: str) -> list[Error]:
        """Validate `output` and everything that feeds it; the errors of the node itself."""
        if output in self.errors:
            return self.errors[output]
        way: dict[str, _Step] = {output: self._step(output, None)}
        while way:
            step = way[next(reversed(way))]
            entry = next(step.pending, None)
            if entry is None:
                self._finish(way.pop(step.node_id))
                if way and step.node_id not in self.valid:
                    way[next(reversed(way))].sound = False
                continue
            target = entry.link[0]
            if not isinstance(target, str) or target not in self.prompt:
                self._fail(step, target)
                step.pending = iter(())
            elif target in way:
                if target not in self.errors or step.node_id not in self.errors:
                    self._mark_cycle(way, target)
                step.sound = False
            elif target not in self.errors:
                way[target] = self._step(target, entry)
            elif target not in self.valid:
                step.sound = False
        return self.errors[output]

    def _step(self, node_id: str, came_from: _Entry | None) -> _Step:
        return _Step(node_id, came_from, iter(self._links(node_id)))

    def _node_class(self, node_id: str) -> NodeClass | None:
        return None if self.catalogue is None else self.catalogue.classes[self.class_type(node_id)]

    def _inputs(self, node_id: str) -> dict[str, Any]:
        inputs = self.prompt[node_id].get("inputs")
        return inputs if isinstance(inputs, dict) else {}

    def _links(self, node_id: str) -> list[_Entry]:
        """The links of the inputs that the class knows; ComfyUI doesn't look at others."""
        node_class = self._node_class(node_id)
        inputs = self._inputs(node_id)
        known = inputs if node_class is None else [name for name in node_class.inputs if name in inputs]
        return [
            _Entry(name, value)
            for name in known
            if isinstance(value := inputs[name], list)
            and len(value) == 2
            and (node_class is not None or graph.link_of(value) is not None)
        ]

    def _finish(self, step: _Step) -> None:
        errors = self.errors.setdefault(step.node_id, [])
        if not any(found["type"].startswith("exception_during") for found in errors):
            errors += self._own_errors(step)
        if errors:
            self.faulty.append(step.node_id)
        elif step.sound:
            self.valid.add(step.node_id)

    def _own_errors(self, step: _Step) -> list[Error]:
        if "inputs" not in self.prompt[step.node_id]:
            return [_exception(step.came_from, "inputs")]
        node_class = self._node_class(step.node_id)
        if node_class is None:
            return []
        return list(_input_errors(node_class, self._inputs(step.node_id)))

    def _fail(self, step: _Step, target: object) -> None:
        self.errors[step.node_id] = [_exception(step.came_from, target)]

    def _mark_cycle(self, way: Mapping[str, _Step], target: str) -> None:
        on_way = list(way)
        cycle = on_way[on_way.index(target) :]
        shown = cycle[:_LONGEST_CYCLE_SHOWN]
        path = " -> ".join(f"{node_id} ({self.class_type(node_id)})" for node_id in [*shown, target])
        for node_id in cycle:
            if node_id not in self.errors:
                extra_info = {"node_id": node_id, "cycle_nodes": shown}
                self.errors[node_id] = [error("dependency_cycle", "Dependency cycle detected", path, extra_info)]


def _input_errors(node_class: NodeClass, inputs: Mapping[str, Any]) -> Iterator[Error]:
    for name in node_class.inputs:
        if name not in inputs:
            if name in node_class.required:
                yield error("required_input_missing", "Required input is missing", name, {"input_name": name})
            continue
        value = inputs[name]
        if isinstance(value, list) and len(value) != 2:
            message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            yield error("bad_linked_input", message, name, {"input_name": name, "received_value": value})
        elif name in node_class.combos:
            yield from _combo_errors(name, node_class.combos[name], value)


def _combo_errors(name: str, combo: ComboInput, value: object) -> Iterator[Error]:
    refused = combo.refused(value)
    if not refused:
        return
    short = len(combo.options) <= _LONGEST_LIST_SHOWN
    listed = str(list(combo.options)) if short else f"(list of length {len(combo.options)})"
    extra_info = {
        "input_name": name,
        "input_config": combo.config if short else None,
        "received_value": graph.unwrapped(value),
    }
    yield error(
        "value_not_in_list", "Value not in list", f"{name}: {', '.join(map(repr, refused))} not in {listed}", extra_info
    )


def _exception(came_from: _Entry | None, key: object) -> Error:
    """What ComfyUI reports for its own KeyError: one type for an output node, another for a node behind it."""
    if came_from is None:
        extra_info: dict[str, Any] = {"exception_type": "KeyError", "traceback": []}
        return error("exception_during_validation", "Exception when validating node", repr(key), extra_info)
    extra_info = {
        "input_name": came_from.input,
        "input_config": None,
        "exception_message": repr(key),
        "exception_type": "KeyError",
        "traceback": [],
        "linked_node": came_from.link,
    }
    return error("exception_during_inner_validation", "Exception when validating inner node", repr(key), extra_info)
