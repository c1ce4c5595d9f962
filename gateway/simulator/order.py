"""In which order the nodes of a graph run (ComfyUI comfy_execution/graph.py: outputs as early as possible). Pure."""

from collections.abc import Callable, Iterable
from typing import Any

from gateway.simulator.values import JSON


class MissingNode(Exception):
    """A node that runs links to one that is not in the prompt."""


def is_link(value: JSON) -> bool:
    """Whether an input's value is `[node id, output index]`."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and type(value[1]) in (int, float)


class ExecutionOrder:
    """The nodes that are needed for some outputs and not cached, handed out one by one."""

    def __init__(
        self, prompt: dict[str, Any], *, is_cached: Callable[[str], bool], is_output: Callable[[str], bool]
    ) -> None:
        self._prompt = prompt
        self._is_cached = is_cached
        self._is_output = is_output
        self._waits_for: dict[str, int] = {}
        self._blocks: dict[str, dict[str, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._waits_for)

    def add(self, outputs: Iterable[str]) -> None:
        """Take in outputs with everything before them that is not cached.

        Raises:
            MissingNode: a link leads nowhere.
        """
        for output in outputs:
            self._add(output)

    def _add(self, output: str) -> None:
        found, links = [output], []
        while found:
            node_id = found.pop()
            if node_id in self._waits_for:
                continue
            if node_id not in self._prompt:
                raise MissingNode(node_id)
            self._waits_for[node_id] = 0
            self._blocks[node_id] = {}
            for value in self._prompt[node_id]["inputs"].values():
                if is_link(value):
                    links.append((value[0], node_id))
                    if not self._is_cached(value[0]):
                        found.append(value[0])
        for source, node_id in links:
            if source in self._blocks and node_id not in self._blocks[source]:
                self._blocks[source][node_id] = None
                self._waits_for[node_id] += 1

    def next(self) -> str | None:
        """The node to run now; None if the rest waits for itself in a circle."""
        ready = [node_id for node_id, count in self._waits_for.items() if count == 0]
        if not ready:
            return None
        return self._first(ready)

    def members_of_circle(self) -> list[str]:
        """What is left when `next` gives None."""
        return list(self._waits_for)

    def done(self, node_id: str) -> None:
        """A node ran; what waited for it may be ready."""
        del self._waits_for[node_id]
        for blocked in self._blocks.pop(node_id):
            self._waits_for[blocked] -= 1

    def _first(self, ready: list[str]) -> str:
        """Outputs first, then what leads to one in one step, then in two, then the oldest."""
        if len(ready) == 1:
            return ready[0]
        for node_id in ready:
            if self._is_output(node_id):
                return node_id
        for node_id in ready:
            if any(self._is_output(blocked) for blocked in self._blocks[node_id]):
                return node_id
        for node_id in ready:
            for blocked in self._blocks[node_id]:
                if any(self._is_output(further) for further in self._blocks.get(blocked, ())):
                    return node_id
        return ready[0]
