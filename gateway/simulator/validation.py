"""Is a prompt fit to run? ComfyUI's rules and words (execution.py validate_prompt, validate_inputs) for both lines.

A prompt comes as a client sent it: any malformed graph ends in an error body or in the exception that makes a real
server answer 500.
"""

import traceback
from dataclasses import dataclass, field
from typing import Any

from gateway.simulator.catalogue import Catalogue
from gateway.simulator.values import JSON

LONG_LIST = 20  # combos with more options are not told back

Error = dict[str, Any]


@dataclass(slots=True)
class Verdict:
    """`error` is None if at least one output can run; those that can are `outputs`."""

    error: Error | None = None
    outputs: list[str] = field(default_factory=list)
    node_errors: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Judged:
    valid: bool
    errors: list[Error]


def validate_prompt(prompt: JSON, targets: JSON, catalogue: Catalogue) -> Verdict:
    """Judge a prompt; `targets` are the partial_execution_targets or None.

    Raises:
        Exception: whatever a graph that is no graph leads to; a server answers 500.
    """
    outputs = []
    for node_id in prompt:
        node = prompt[node_id]
        error = _class_error(node_id, node, catalogue)
        if error is not None:
            return Verdict(error)
        if catalogue.is_output(node["class_type"]) and (targets is None or node_id in targets):
            outputs.append(node_id)
    if not outputs:
        return Verdict(prompt_error("prompt_no_outputs", "Prompt has no outputs"))
    return _Validation(prompt, catalogue).outputs(outputs)


def prompt_error(kind: str, message: str, details: str = "", extra_info: dict[str, Any] | None = None) -> Error:
    """The `error` member of a 400 answer."""
    return {"type": kind, "message": message, "details": details, "extra_info": extra_info or {}}


def _class_error(node_id: str, node: JSON, catalogue: Catalogue) -> Error | None:
    details = f"Node ID '#{node_id}'"
    if "class_type" not in node:
        if not catalogue.modern:
            message = "Cannot execute because a node is missing the class_type property."
            return prompt_error("invalid_prompt", message, details)
        title = node.get("_meta", {}).get("title")
        message = (
            f"Node '{title or f'ID #{node_id}'}' has no class_type. "
            "The workflow may be corrupted or a custom node is missing."
        )
        return prompt_error("missing_node_type", message, details, _node_extra(node_id, None, title))
    class_type = node["class_type"]
    if class_type in catalogue:
        return None
    if not catalogue.modern:
        message = f"Cannot execute because node {class_type} does not exist."
        return prompt_error("invalid_prompt", message, details)
    title = node.get("_meta", {}).get("title", class_type)
    message = f"Node '{title}' not found. The custom node may not be installed."
    return prompt_error("missing_node_type", message, details, _node_extra(node_id, class_type, title))


def _node_extra(node_id: str, class_type: str | None, title: str | None) -> dict[str, Any]:
    return {"node_id": node_id, "class_type": class_type, "node_title": title}


class _Validation:
    """One prompt's validation; nodes are judged once."""

    def __init__(self, prompt: dict[str, Any], catalogue: Catalogue) -> None:
        self._prompt = prompt
        self._catalogue = catalogue
        self._judged: dict[str, _Judged] = {}
        self._visiting: list[str] = []

    def outputs(self, outputs: list[str]) -> Verdict:
        verdict = Verdict()
        messages: list[str] = []
        for output in outputs:
            try:
                judged = self._node(output)
            # Malformed graphs raise anything; the server reports it as this output's error.
            except Exception as error:  # noqa: BLE001
                self._visiting.clear()
                judged = self._judged[output] = _Judged(False, [_exception_error(error)])
            if judged.valid:
                verdict.outputs.append(output)
                continue
            messages += [f"{error['message']}: {error['details']}" for error in judged.errors]
            self._blame(output, verdict.node_errors)
        if not verdict.outputs:
            verdict.error = prompt_error(
                "prompt_outputs_failed_validation", "Prompt outputs failed validation", "\n".join(messages)
            )
        return verdict

    def _blame(self, output: str, node_errors: dict[str, Any]) -> None:
        for node_id, judged in self._judged.items():
            if judged.valid or not judged.errors:
                continue
            if node_id not in node_errors:
                node_errors[node_id] = {
                    "errors": judged.errors,
                    "dependent_outputs": [],
                    "class_type": self._prompt[node_id]["class_type"],
                }
            node_errors[node_id]["dependent_outputs"].append(output)

    def _node(self, node_id: str) -> _Judged:
        if node_id in self._judged:
            return self._judged[node_id]
        if self._catalogue.modern and node_id in self._visiting:
            return self._cycle(node_id)
        node = self._prompt[node_id]
        inputs, class_type = node["inputs"], node["class_type"]
        groups = self._catalogue.info(class_type)["input"]
        checks = self._catalogue.node_class(class_type).checks
        errors: list[Error] = []
        valid = True
        for group in ("required", "optional"):
            for name, given in groups.get(group, {}).items():
                if name not in inputs:
                    if group == "required":
                        errors.append(_input_error("required_input_missing", "Required input is missing", name))
                    continue
                error, fine = self._input(node_id, name, given, name in checks)
                valid = valid and fine
                if error is not None:
                    errors.append(error)
        errors += self._checked(inputs, checks)
        known = self._judged.get(node_id, _Judged(True, []))  # a cycle may have judged it meanwhile
        judged = _Judged(
            known.valid and valid and not errors,
            known.errors + [error for error in errors if error not in known.errors],
        )
        self._judged[node_id] = judged
        return judged

    def _input(self, node_id: str, name: str, given: list[Any], has_check: bool) -> tuple[Error | None, bool]:
        """The input's own error, and whether what it links to is valid."""
        inputs = self._prompt[node_id]["inputs"]
        value = inputs[name]
        kind, config = given[0], (given[1] if len(given) > 1 else {})
        if isinstance(value, list):
            return self._link(node_id, name, [kind, config], value)
        try:
            value = inputs[name] = _converted(value, kind)
        # Conversion fails in as many ways as there are values; the text is part of the answer.
        except Exception as error:  # noqa: BLE001
            message = f"Failed to convert an input value to a {kind} value"
            extra = {"input_config": [kind, config], "received_value": value, "exception_message": str(error)}
            return _input_error("invalid_input_type", message, name, f"{name}, {value}, {error}", **extra), True
        if has_check:
            return None, True
        return _limit_error(name, kind, config, value, modern=self._catalogue.modern), True

    def _link(self, node_id: str, name: str, config: list[Any], link: list[Any]) -> tuple[Error | None, bool]:
        if len(link) != 2:
            message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            return _input_error("bad_linked_input", message, name, input_config=config, received_value=link), True
        source, slot = link
        received = tuple(self._catalogue.info(self._prompt[source]["class_type"])["output"])[slot]
        if not _fits(received, config[0]):
            message = "Return type mismatch between linked nodes"
            details = f"{name}, received_type({received}) mismatch input_type({config[0]})"
            extra = {"input_config": config, "received_type": received, "linked_node": link}
            return _input_error("return_type_mismatch", message, name, details, **extra), True
        self._visiting.append(node_id)
        try:
            return None, self._node(source).valid
        # Malformed graphs raise anything; the server reports it as the linked node's error.
        except Exception as error:  # noqa: BLE001
            message = "Exception when validating inner node"
            extra = _exception_extra(error) | {"exception_message": str(error), "linked_node": link}
            inner = _input_error(
                "exception_during_inner_validation", message, name, str(error), input_config=config, **extra
            )
            self._judged[source] = _Judged(False, [inner])
            return None, False
        finally:
            self._visiting.pop()

    def _cycle(self, node_id: str) -> _Judged:
        path = [*self._visiting[self._visiting.index(node_id) :], node_id]
        members = list(dict.fromkeys(path))
        details = " -> ".join(f"{member} ({self._prompt[member]['class_type']})" for member in path)
        for member in members:
            extra = {"node_id": member, "cycle_nodes": members}
            error = prompt_error("dependency_cycle", "Dependency cycle detected", details, extra)
            self._judged[member] = _Judged(False, [error])
        return self._judged[node_id]

    def _checked(self, inputs: dict[str, Any], checks: JSON) -> list[Error]:
        errors = []
        for name, check in checks.items():
            if name not in inputs or isinstance(inputs[name], list):
                continue
            complaint = check(self._catalogue.folders, inputs[name])
            if complaint is not None:
                message = "Custom validation failed for node"
                errors.append(_input_error("custom_validation_failed", message, name, f"{name} - {complaint}"))
        return errors


def _input_error(kind: str, message: str, name: str, details: str | None = None, **extra: JSON) -> Error:
    return prompt_error(kind, message, name if details is None else details, {"input_name": name, **extra})


def _exception_error(error: Exception) -> Error:
    return prompt_error(
        "exception_during_validation", "Exception when validating node", str(error), _exception_extra(error)
    )


def _exception_extra(error: Exception) -> dict[str, Any]:
    return {"exception_type": type(error).__name__, "traceback": traceback.format_tb(error.__traceback__)}


def _converted(value: JSON, kind: JSON) -> JSON:
    if isinstance(value, dict) and "__value__" in value:
        value = value["__value__"]
    if kind == "INT":
        return int(value)
    if kind == "FLOAT":
        return float(value)
    if kind == "STRING":
        return str(value)
    if kind == "BOOLEAN":
        return bool(value)
    return value


def _fits(received: str, wanted: JSON) -> bool:
    """Whether an output of one type may go into an input of another; types may be unions, "*" takes all."""
    if received == wanted or "*" in (received, wanted):
        return True
    if not isinstance(wanted, str):
        return False
    return not _parts(received).isdisjoint(_parts(wanted))


def _parts(union: str) -> set[str]:
    return {part.strip() for part in union.split(",")}


def _limit_error(name: str, kind: JSON, config: dict[str, Any], value: JSON, *, modern: bool) -> Error | None:
    for limit, error_type, words in (
        ("min", "value_smaller_than_min", "smaller than min"),
        ("max", "value_bigger_than_max", "bigger than max"),
    ):
        if limit in config and (value < config[limit] if limit == "min" else value > config[limit]):
            message = f"Value {value} {words} of {config[limit]}"
            return _input_error(error_type, message, name, input_config=[kind, config], received_value=value)
    if isinstance(kind, list) and value not in kind:
        long = len(kind) > LONG_LIST
        shown = repr(value) if modern else f"'{value}'"
        listed = f"(list of length {len(kind)})" if long else str(kind)
        return _input_error(
            "value_not_in_list",
            "Value not in list",
            name,
            f"{name}: {shown} not in {listed}",
            input_config=None if long else [kind, config],
            received_value=value,
        )
    return None
