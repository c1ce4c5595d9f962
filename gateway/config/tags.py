"""The section of tags: rules that look at a graph and add tags to its job."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from gateway.config.section import Section
from gateway.config.values import Tag, value_fault


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise value_fault(f"is no regular expression: {error.msg}") from None
    return text


Pattern = Annotated[str, Field(max_length=1_000), AfterValidator(_pattern)]


class TagCondition(Section):
    """What one node of a graph must be like: its class, and the values of inputs as text. Patterns are Python's regular
    expressions and fit the whole text; links between nodes fit none.
    """

    class_type: Pattern | None = None
    inputs: dict[str, Pattern] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _not_empty(self) -> "TagCondition":
        if self.class_type is None and not self.inputs:
            raise value_fault("needs class_type or inputs")
        return self


class TagRule(Section):
    """A job whose graph has a node like `when` needs the tags of `add` too."""

    when: TagCondition
    add: Annotated[tuple[Tag, ...], Field(min_length=1)]


class TagsConfig(Section):
    """Tags that jobs get without asking. All `rules` that fit add theirs."""

    rules: tuple[TagRule, ...] = ()
