"""What the runners of a pool say about their node classes, each answer and each definition kept once: most runners say
the same, at up to 50 MB each."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet, WeakValueDictionary

from blake3 import blake3

from gateway.comfyui import catalogue as catalogues
from gateway.comfyui import json_text
from gateway.comfyui.catalogue import Catalogue
from gateway.comfyui.object_info import with_upload_options

ANSWERS_MOST = 1_000  # whose hashes are remembered
VARIANTS_MOST = 8  # definitions of one node class that are compared with new ones

_versions = itertools.count(1)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Definitions:
    """An answer of ``/object_info``, its upload lists empty: a runner's own files are nobody's business, and would make
    it a new catalogue with every upload. ``version`` is another one wherever definitions differ, and 0 for none."""

    object_info: Mapping[str, Any]
    catalogue: Catalogue
    version: int


class Shelf:
    """The definitions of a pool's runners."""

    def __init__(self) -> None:
        self._of_answer: WeakValueDictionary[bytes, Definitions] = WeakValueDictionary()
        self._alive: WeakSet[Definitions] = WeakSet()
        self._variants: dict[str, list[Any]] = {}  # node class -> its distinct definitions

    def read(self, body: bytes) -> Definitions:
        """The definitions in an answer: the same object for answers that say the same, while a runner has it.

        Raises ValueError: it is no JSON object.
        """
        digest = blake3(body).digest()
        known = self._of_answer.get(digest)
        if known is None:
            known = self._parsed(body)
            self._of_answer[digest] = known
            while len(self._of_answer) > ANSWERS_MOST:
                self._of_answer.pop(next(iter(self._of_answer)))
        return known

    def _parsed(self, body: bytes) -> Definitions:
        found = json_text.loads(body)
        if not isinstance(found, dict):
            raise ValueError("/object_info is no object")
        object_info = {
            name: self._one_of(name, definition) for name, definition in with_upload_options(found, []).items()
        }
        for known in self._alive:
            if known.object_info == object_info:
                return known
        definitions = Definitions(object_info, catalogues.parse(object_info), next(_versions))
        self._alive.add(definitions)
        return definitions

    def _one_of(self, name: str, definition: Any) -> Any:
        """Equal definitions of different runners are one object: to compare it with itself costs nothing."""
        variants = self._variants.setdefault(name, [])
        for known in variants:
            if known == definition:
                return known
        variants.append(definition)
        del variants[:-VARIANTS_MOST]
        return definition
