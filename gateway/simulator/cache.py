"""The execution cache: results of nodes by what they depend on, not by node id (ComfyUI comfy_execution/caching.py)."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from gateway.simulator.order import is_link

Signature = bytes


@dataclass(slots=True)
class CacheEntry:
    """What a node gave: its outputs and, if it has any, its `output` and `meta` for the history."""

    outputs: tuple[Any, ...]
    ui: dict[str, Any] | None


class ExecutionCache:
    """Keeps the nodes of the last prompt and up to `spare` others, least recently used ones going first."""

    def __init__(self, spare: int) -> None:
        self._spare = spare
        self._entries: OrderedDict[Signature, CacheEntry] = OrderedDict()
        self._signatures: dict[str, Signature] = {}

    def begin_prompt(self, prompt: dict[str, Any], fingerprint: Callable[[str], str | None]) -> None:
        """Reckon the signatures of a prompt's nodes and let go of what is too old.

        `fingerprint` gives what a node depends on besides its inputs, such as the content of a file.
        """
        self._signatures = _signatures(prompt, fingerprint)
        used = set(self._signatures.values())
        for signature in used & self._entries.keys():
            self._entries.move_to_end(signature)
        while len(self._entries) > self._spare and next(iter(self._entries)) not in used:
            self._entries.popitem(last=False)

    def get(self, node_id: str) -> CacheEntry | None:
        """The result of a node of the present prompt, if it is known."""
        signature = self._signatures.get(node_id)
        return None if signature is None else self._entries.get(signature)

    def put(self, node_id: str, entry: CacheEntry) -> None:
        """Keep the result of a node of the present prompt."""
        signature = self._signatures.get(node_id)
        if signature is not None:
            self._entries[signature] = entry

    def cached(self, node_ids: Iterable[str]) -> list[str]:
        """Those of the nodes whose results are known."""
        return [node_id for node_id in node_ids if self.get(node_id) is not None]

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()


def _signatures(prompt: dict[str, Any], fingerprint: Callable[[str], str | None]) -> dict[str, Signature]:
    """Per node a digest of its class, inputs and ancestors; nodes on circles or with dead links have none."""
    done: dict[str, Signature] = {}
    for start in prompt:
        stack = [(start, False)]
        entered: set[str] = set()
        while stack:
            node_id, ancestors_done = stack.pop()
            if node_id in done or node_id not in prompt:
                continue
            if ancestors_done:
                signature = _signature(prompt[node_id], done, fingerprint(node_id))
                if signature is not None:
                    done[node_id] = signature
            elif node_id not in entered:
                entered.add(node_id)
                stack.append((node_id, True))
                stack += [(value[0], False) for value in prompt[node_id].get("inputs", {}).values() if is_link(value)]
    return done


def _signature(node: dict[str, Any], known: dict[str, Signature], fingerprint: str | None) -> Signature | None:
    parts: list[Any] = [node["class_type"], fingerprint]
    for name, value in sorted(node.get("inputs", {}).items()):
        if is_link(value):
            if value[0] not in known:
                return None
            parts.append((name, known[value[0]], value[1]))
        else:
            parts.append((name, value))
    return hashlib.blake2b(repr(parts).encode(errors="surrogatepass"), digest_size=16).digest()
