"""What a job needs of a runner, drawn from its graph and its tags, and whether a runner has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.comfyui import graph
from gateway.comfyui.catalogue import Catalogue
from gateway.scheduling.models import is_loader, is_model_file


@dataclass(frozen=True, slots=True)
class Needs:
    """What a runner must have. Jobs with equal needs can run on the same runners, so this is a key.

    ``values`` are the combo values the graph names, as (node class, input, value); uploads are not among them.
    ``models`` are those of the values that are files which a loader brings into memory. ``owner`` is told only where a
    runner is reserved for that owner.
    """

    tags: frozenset[str]
    classes: frozenset[str]
    values: frozenset[tuple[str, str, Any]]
    models: frozenset[str] = frozenset()
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a runner can run a job; ``reason`` says why not, "" if it can."""

    fits: bool
    reason: str


FITS = Verdict(True, "")
MISSING = object()  # an input that a node does not have


def needs_of(prompt: Mapping[str, Any], tags: frozenset[str], catalogue: Catalogue, owner: str = "") -> Needs:
    """Draws the needs from a graph.

    Args:
        prompt: the graph as the client sent it; what is not a node is passed over.
        tags: the job's tags.
        catalogue: of the whole pool; it tells which inputs are combos.
        owner: the job's, where a runner is reserved for it.
    """
    values: set[tuple[str, str, Any]] = set()
    models: set[str] = set()
    for _, class_type, inputs in graph.nodes(prompt):
        node_class = catalogue.classes.get(class_type)
        for name, combo in node_class.combos.items() if node_class else ():
            value = inputs.get(name, MISSING)
            if value is MISSING or combo.is_upload or combo.remote or graph.is_link(value):
                continue
            chosen = value if isinstance(value, list) else [value]
            values |= {(class_type, name, each) for each in chosen if _is_plain(each)}
            if node_class is not None and is_loader(node_class):
                models |= {each for each in chosen if is_model_file(each)}
    return Needs(tags, graph.class_types(prompt), frozenset(values), frozenset(models), owner)


def tags_fit(wanted: frozenset[str], offered: frozenset[str]) -> bool:
    """A job's tags must all be among the runner's; a job without tags fits every runner, a runner without takes all."""
    return not wanted or not offered or wanted <= offered


def judge(needs: Needs, tags: frozenset[str], catalogue: Catalogue | None) -> Verdict:
    """Whether a runner with these tags and this catalogue can run what has these needs. An unknown catalogue fits."""
    if not tags_fit(needs.tags, tags):
        return Verdict(False, f"lacks the tags {', '.join(sorted(needs.tags - tags))}")
    if catalogue is None:
        return FITS
    missing = sorted(needs.classes - catalogue.classes.keys())
    if missing:
        return Verdict(False, f"lacks the node classes {', '.join(missing)}")
    for class_type, name, value in sorted(needs.values, key=repr):
        combo = catalogue.classes[class_type].combos.get(name)
        if combo is not None and not combo.accepts(value):
            return Verdict(False, f"{class_type}.{name} has no {value!r}")
    return FITS


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)
