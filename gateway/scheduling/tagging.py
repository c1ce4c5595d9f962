"""Tags that a graph gets by the rules of the configuration. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.comfyui import graph
from gateway.config.tags import TagRule

TEXT_MOST = 10_000  # characters of an input's value that a pattern is tried on


@dataclass(frozen=True, slots=True)
class _Rule:
    class_type: re.Pattern[str] | None
    inputs: tuple[tuple[str, re.Pattern[str]], ...]
    add: tuple[str, ...]

    def fits(self, class_type: str, inputs: Mapping[str, Any]) -> bool:
        if self.class_type is not None and not self.class_type.fullmatch(class_type):
            return False
        return all(_fits(pattern, inputs.get(name)) for name, pattern in self.inputs)


class Tagging:
    """The rules, ready to be asked."""

    def __init__(self, rules: Iterable[TagRule]) -> None:
        self._rules = tuple(
            _Rule(
                None if rule.when.class_type is None else re.compile(rule.when.class_type),
                tuple((name, re.compile(pattern)) for name, pattern in rule.when.inputs.items()),
                rule.add,
            )
            for rule in rules
        )

    def tags_of(self, prompt: Mapping[str, Any]) -> tuple[str, ...]:
        """What the rules add for a graph, each tag once, in the order of the rules."""
        if not self._rules:
            return ()
        nodes = [(class_type, inputs) for _, class_type, inputs in graph.nodes(prompt)]
        fitting = (rule for rule in self._rules if any(rule.fits(*node) for node in nodes))
        return tuple(dict.fromkeys(tag for rule in fitting for tag in rule.add))


def _fits(pattern: re.Pattern[str], value: Any) -> bool:
    if isinstance(value, bool):
        value = str(value).lower()
    if not isinstance(value, str | int | float):
        return False
    return pattern.fullmatch(str(value)[:TEXT_MOST]) is not None
