"""What flows along the links of a simulated graph: symbols that stand for tensors and models. No pixels here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

JSON = Any
"""Whatever a client sent."""

RGB = tuple[int, int, int]


@dataclass(frozen=True)
class ImageValue:
    """A batch of pictures: a description to draw from, or a file to read."""

    width: int
    height: int
    batch: int = 1
    color: RGB | None = None
    """Background; None derives one from seed and runner."""
    seed: int | None = None
    title: str = ""
    source: Path | None = None
    """The pixels are this file's."""
    inverted: bool = False

    def __str__(self) -> str:
        return f"tensor(size=({self.batch}, {self.height}, {self.width}, 3))"


@dataclass(frozen=True)
class MaskValue:
    """The alpha of a loaded picture."""

    source: Path


@dataclass(frozen=True)
class ModelValue:
    """One of the three parts of a checkpoint."""

    part: str
    checkpoint: str


@dataclass(frozen=True)
class ConditioningValue:
    """An encoded text."""

    text: str


@dataclass(frozen=True)
class LatentValue:
    """A batch of latents, with sizes in pixels; seed and checkpoint are those of the last sampler."""

    width: int
    height: int
    batch: int
    seed: int | None = None
    checkpoint: str = ""
