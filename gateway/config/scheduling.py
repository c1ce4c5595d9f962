"""The section `scheduling`: by which policy jobs find their runner, and whose turn it is."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from gateway.config.section import Section
from gateway.config.values import Folder, Number, Seconds, value_fault


class KeptModel(Section):
    """A model that the last runner that has it loaded does not throw out; `workflow` is the file of a small graph that
    loads it where no runner has it any more. The name alone is a model without one."""

    model: str = Field(min_length=1, max_length=1_024)
    workflow: Folder | None = None

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, given: Any) -> Any:
        return {"model": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _is_loaded_by_it(self) -> "KeptModel":
        if self.workflow is not None and not _names(graph_in(self.workflow), self.model):
            raise value_fault(f"no node of {self.workflow} names {self.model}")
        return self

    @property
    def graph(self) -> dict[str, Any] | None:
        """What `workflow` holds now. Raises as the validation does."""
        return None if self.workflow is None else graph_in(self.workflow)


class SchedulingConfig(Section):
    """`policy` by name: `warm` looks at what runners have loaded, the others are for comparison. Jobs that were passed
    over for `patience_seconds` go first. `weights` are owners' shares of the GPUs' time, 1 for who is not named and
    whose token says nothing else.
    """

    policy: Literal["warm", "least_work", "round_robin"] = "warm"
    patience_seconds: Seconds = 60.0
    weights: dict[str, Annotated[Number, Field(gt=0, le=1_000)]] = Field(default_factory=dict)
    keep_warm: tuple[KeptModel, ...] = ()

    @field_validator("keep_warm")
    @classmethod
    def _models_once(cls, kept: tuple[KeptModel, ...]) -> tuple[KeptModel, ...]:
        if len({each.model for each in kept}) != len(kept):
            raise value_fault("names a model twice")
        return kept


def graph_in(path: Path) -> dict[str, Any]:
    """The graph in a file, in API format: nodes by id. Raises a fault of the configuration."""
    try:
        graph = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise value_fault(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(graph, dict) or not graph or not all(_is_node(node) for node in graph.values()):
        raise value_fault(f"{path} is no workflow in API format")
    return graph


def _is_node(node: object) -> bool:
    return isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)


def _names(graph: dict[str, Any], model: str) -> bool:
    return any(value == model for node in graph.values() for value in node["inputs"].values())
