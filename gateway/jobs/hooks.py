"""The webhooks of a job: where its events are sent, as its submission or its token asked for. They are stored with the
job; what is sent, and how, is in `gateway.webhooks`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

HOOKS_MOST: Final = 4  # of one job


class Event(StrEnum):
    """What is told of a job, in the order in which it happens."""

    CREATED = "created"
    STARTED = "started"
    PROGRESS = "progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDS: Final = frozenset({Event.COMPLETED, Event.FAILED, Event.CANCELLED})
ALL: Final = tuple(Event)


class HookRefused(ValueError):
    """A webhook that is none, or whose target may not be one; as text the reason."""


@dataclass(frozen=True, slots=True)
class Hook:
    """One receiver, and which events it is sent."""

    url: str
    events: tuple[Event, ...] = ALL

    def as_json(self) -> dict[str, Any]:
        """As it is stored, and told."""
        return {"url": self.url, "events": [event.value for event in self.events]}


def hook_of(value: Any) -> Hook:
    """A webhook as clients write it: a URL, or ``{"url", "events"}``. Its address is not judged here.

    Raises HookRefused.
    """
    if isinstance(value, str):
        return Hook(value)
    if not isinstance(value, Mapping):
        raise HookRefused("must be a URL, or an object with url and events")
    unknown = sorted(map(str, set(value) - {"url", "events"}))
    if unknown:
        raise HookRefused(f"has the unknown field {unknown[0]}")
    if not isinstance(value.get("url"), str):
        raise HookRefused("needs a url")
    return Hook(value["url"], _events(value.get("events")))


def hooks_of(value: Any) -> tuple[Hook, ...]:
    """Webhooks as they are stored: a list of objects. Raises HookRefused."""
    return tuple(hook_of(each) for each in value)


def merged(hooks: Iterable[Hook]) -> tuple[Hook, ...]:
    """The hooks, each receiver once, with the events of all of them."""
    events: dict[str, set[Event]] = {}
    for hook in hooks:
        events.setdefault(hook.url, set()).update(hook.events)
    return tuple(Hook(url, tuple(event for event in Event if event in wanted)) for url, wanted in events.items())


def _events(value: Any) -> tuple[Event, ...]:
    if value is None:
        return ALL
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise HookRefused(f"events must be a list of {', '.join(Event)}")
    try:
        wanted = {Event(each) for each in value}
    except (ValueError, TypeError):
        raise HookRefused(f"events must be of {', '.join(Event)}") from None
    return tuple(event for event in Event if event in wanted)
