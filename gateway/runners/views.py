"""Views of a pool: the runners that fit something, as a pool of their own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

from gateway.comfyui.object_info import Conflict
from gateway.runners.pool import Pool
from gateway.runners.runner import Runner

VIEWS_MOST: Final = 64  # each with its merged catalogue

Fits = Callable[[Runner], bool]


class View(Pool):
    """The runners of a pool that fit, in its order. Its merged answers are of them alone."""

    def __init__(self, pool: Pool, fits: Fits) -> None:
        super().__init__()
        self._whole = pool
        self._fits = fits

    def __iter__(self) -> Iterator[Runner]:
        return (runner for runner in self._whole if self._fits(runner))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def get(self, name: str) -> Runner | None:
        """Returns the runner of that name, if it fits."""
        runner = self._whole.get(name)
        return runner if runner is not None and self._fits(runner) else None

    def _tell_conflicts(self, conflicts: frozenset[Conflict]) -> None:
        """The whole pool's conflicts are told already; these are some of them."""


class Views:
    """The views of a pool that are in use."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._views: OrderedDict[tuple[str, ...], View] = OrderedDict()

    def of(self, key: tuple[str, ...], fits: Fits) -> View:
        """The view under a key, with the catalogue that was merged for it before."""
        view = self._views.get(key)
        if view is None:
            view = self._views[key] = View(self._pool, fits)
        self._views.move_to_end(key)
        while len(self._views) > VIEWS_MOST:
            self._views.popitem(last=False)
        return view
