"""Where the time of one run went, by the messages of its runner: loading models, and all the rest. No learning: that is
`gateway.jobs.learning`'s.

A loader that runs tells by its own time what its files took. Where the loader was cached and the model had been thrown
out all the same, the node that uses it loads: its first step comes late, measured by its other steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.comfyui.messages import Message


@dataclass(slots=True)
class _Node:
    """The node that runs. ``first`` and ``last`` are (seconds, step) of its progress."""

    id: str
    since: float
    first: tuple[float, float] | None = None
    last: tuple[float, float] | None = None

    @property
    def late(self) -> float:
        """By how many seconds its first step came later than the others let expect."""
        if self.first is None or self.last is None or self.last[1] <= self.first[1]:
            return 0.0
        step = (self.last[0] - self.first[0]) / (self.last[1] - self.first[1])
        return max(0.0, self.first[0] - self.since - step * self.first[1])


@dataclass(slots=True)
class Timing:
    """One run. ``loaders`` are the nodes that load models, with the files; ``now`` is in monotonic seconds."""

    loaders: Mapping[str, tuple[str, ...]]
    began: float | None = None
    ended: float | None = None
    loaded: dict[str, float] = field(default_factory=dict)
    unaccounted: float = 0.0
    cached: set[str] = field(default_factory=set)
    _node: _Node | None = None

    def hear(self, message: Message, now: float) -> None:
        """A message of this run."""
        if self.began is None:
            self.began = now
        match message.type:
            case "execution_cached":
                self.cached.update(map(str, message.data.get("nodes") or ()))
            case "executing":
                self._next(message.data.get("node"), now)
            case "progress":
                self._progress(message.data, now)
            case "execution_success":
                self._next(None, now)
                self.ended = now

    @property
    def seconds(self) -> float | None:
        """From start to success; None where one of them was not heard."""
        return None if self.began is None or self.ended is None else self.ended - self.began

    @property
    def loading(self) -> float:
        """Seconds that went into loading, as far as that was seen."""
        return sum(self.loaded.values()) + self.unaccounted

    def _next(self, node: object, now: float) -> None:
        done, self._node = self._node, None if node is None else _Node(str(node), now)
        if done is None:
            return
        files = self.loaders.get(done.id)
        if files:
            for file in files:
                self.loaded[file] = self.loaded.get(file, 0.0) + (now - done.since) / len(files)
        else:
            self.unaccounted += done.late

    def _progress(self, data: Mapping[str, object], now: float) -> None:
        node, value = self._node, data.get("value")
        if node is None or not isinstance(value, int | float) or str(data.get("node", node.id)) != node.id:
            return
        if node.first is None:
            node.first = (now, float(value))
        node.last = (now, float(value))
