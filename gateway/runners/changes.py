"""What an operator's new list of runners changes in the old one, as a pure comparison. What a change does to a runner
and to its jobs is in `gateway.jobs.fleet`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.config import RunnerConfig


class ChangeKind(StrEnum):
    """See the table in `gateway.jobs.fleet`."""

    ADDED = "added"
    REMOVED = "removed"
    RECONNECTED = "reconnected"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Change:
    """One runner that differs. ``config`` is the new one, the old one where it was removed; ``keys`` name what differs,
    never with their values, which may be secret."""

    kind: ChangeKind
    config: RunnerConfig
    keys: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The runner's name."""
        return self.config.name


def difference(old: Sequence[RunnerConfig], new: Sequence[RunnerConfig]) -> list[Change]:
    """The runners that differ: new and changed ones in the order of ``new``, then those that went."""
    known = {config.name: config for config in old}
    found = [
        change
        for config in new
        if (change := compare(known[config.name], config) if config.name in known else Change(ChangeKind.ADDED, config))
    ]
    names = {config.name for config in new}
    return [*found, *(Change(ChangeKind.REMOVED, config) for config in old if config.name not in names)]


def compare(was: RunnerConfig, becomes: RunnerConfig) -> Change | None:
    """How one runner of the same name differs, None where it does not."""
    keys = tuple(key for key in RunnerConfig.model_fields if getattr(was, key) != getattr(becomes, key))
    if not keys:
        return None
    reconnects = "endpoint" in keys or "headers" in keys
    return Change(ChangeKind.RECONNECTED if reconnects else ChangeKind.CHANGED, becomes, keys)
