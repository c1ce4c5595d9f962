"""The node classes of one runner with the combo options of the moment, for /object_info and for validation."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.simulator.definitions import Options
from gateway.simulator.folders import Folders
from gateway.simulator.nodes import NodeClass, node_classes


class Catalogue:
    """Classes by name; infos are kept as long as the files that they list are the same."""

    def __init__(
        self, *, modern: bool, extra: Sequence[NodeClass], models: Mapping[str, Sequence[str]], folders: Folders
    ) -> None:
        self.modern = modern
        self.folders = folders
        self._classes = node_classes(modern=modern, extra=extra)
        self._models = {kind: models.get(kind.value, ()) for kind in Options if kind is not Options.INPUT_FILES}
        self._infos: dict[str, dict[str, Any]] = {}
        self._listed: Sequence[str] = ()

    def __contains__(self, name: object) -> bool:
        return name in self._classes

    def __iter__(self) -> Iterator[str]:
        return iter(self._classes)

    def node_class(self, name: str) -> NodeClass:
        """The class; KeyError if the runner has none of that name."""
        return self._classes[name]

    def info(self, name: str) -> dict[str, Any]:
        """The class as in /object_info; not to be changed by the caller."""
        definition = self._classes[name].definition
        if definition.lists(Options.INPUT_FILES):
            self._forget_old_listing()
        known = self._infos.get(name)
        if known is None:
            options = self._models | {Options.INPUT_FILES: self._listed}
            known = self._infos[name] = definition.info(modern=self.modern, options=options)
        return known

    def _forget_old_listing(self) -> None:
        listed = self.folders.input_images()
        if listed != self._listed:
            self._listed = listed
            self._infos.clear()

    def is_output(self, name: str) -> bool:
        """Whether nodes of the class are outputs of a graph."""
        return self._classes[name].definition.output_node
