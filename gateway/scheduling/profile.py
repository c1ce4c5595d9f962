"""What kind of job a graph is, as far as its duration goes: the same kind however it is seeded, worded and named, and
how much of it there is to do."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.comfyui import graph
from gateway.comfyui.catalogue import Catalogue
from gateway.scheduling.models import is_model_file

LENGTHS = ("length", "frames", "num_frames", "video_frames")
AMOUNTS = frozenset({"steps", "width", "batch_size", *LENGTHS})
MOST = 1e15  # of a size: whatever a graph says, arithmetic stays finite


@dataclass(frozen=True, slots=True)
class Profile:
    """``kind`` is the same for graphs that differ only in seeds, texts, files and amounts; ``size`` is steps × pixels ×
    batch × frames, 1 for what has none."""

    kind: str = ""
    size: float = 1.0


UNKNOWN = Profile()


def profile_of(prompt: Mapping[str, Any], catalogue: Catalogue) -> Profile:
    """Draws the profile from a graph; the catalogue tells which texts are choices, such as a sampler."""
    parts: list[str] = []
    steps, pixels, batch, length = 0.0, 0.0, 0.0, 0.0
    for _, class_type, inputs in graph.nodes(prompt):
        known = catalogue.classes.get(class_type)
        choices = []
        for name, value in inputs.items():
            if isinstance(value, str):
                combo = known.combos.get(name) if known else None
                if combo is not None and not combo.is_upload and not is_model_file(value):
                    choices.append(f"{name}={value}")
            elif graph.is_link(value):
                choices.append(name)
        parts.append(f"{class_type}({','.join(sorted(choices))})")
        if not AMOUNTS.isdisjoint(inputs):
            steps += _number(inputs.get("steps"))
            pixels = max(pixels, _number(inputs.get("width")) * _number(inputs.get("height")))
            batch = max(batch, _number(inputs.get("batch_size")))
            length = max(length, *(_number(inputs.get(name)) for name in LENGTHS))
    digest = hashlib.blake2b("\n".join(sorted(parts)).encode(errors="surrogatepass"), digest_size=12)
    size = max(1.0, steps) * max(1.0, pixels) * max(1.0, batch) * max(1.0, length)
    return Profile(digest.hexdigest(), min(size, MOST))


def _number(value: Any) -> float:
    return float(value) if type(value) in (int, float) and 0 < value < MOST else 0.0
