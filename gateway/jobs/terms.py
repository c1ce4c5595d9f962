"""On what terms a prompt is taken in, beside what it says itself: by the token that it came with, the base URL that it
was sent to, and for a workflow by its form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.jobs.hooks import Hook, hooks_of


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for a prompt.

    Attributes:
        tags: that its runner must have, beside those that it asks for.
        hooks: that are told of it, beside its own; their addresses were judged when they were given.
    """

    tags: tuple[str, ...] = ()
    hooks: tuple[Hook, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As it is stored."""
        return {"tags": list(self.tags), "hooks": [hook.as_json() for hook in self.hooks]}

    @classmethod
    def of_json(cls, stored: Mapping[str, Any]) -> Terms:
        """From how it was stored."""
        return cls(tuple(stored["tags"]), hooks_of(stored["hooks"]))


NO_TERMS = Terms()
