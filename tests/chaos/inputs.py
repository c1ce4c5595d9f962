"""Pictures that prompts have as inputs, each told apart by its colour. Pure."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from PIL import Image

from gateway.simulator.pictures import color_of, flat_png

Colour = tuple[int, int, int]
CONTENTS = 5  # different uploads of a run: the same one comes again, under the same name and under another
NAMES = 2


def upload_of(seed: int, *, overwrite: bool) -> tuple[str, bytes]:
    """The name that a client asks for, and the picture."""
    name = f"{'over' if overwrite else 'in'}{seed % NAMES}.png"
    return name, flat_png(8, 8, color_of(f"content {seed % CONTENTS}"))


def colour_of(picture: bytes) -> Colour:
    """The colour of a picture that has one; fails on what is no picture."""
    with Image.open(io.BytesIO(picture)) as image:
        red, green, blue = image.convert("RGB").getpixel((0, 0))  # type: ignore[misc]
        return red, green, blue


def saved_by(entry: Mapping[str, Any], node: str) -> list[str]:
    """The files that a node wrote, as the annotated names that LoadImage takes."""
    images = (entry["outputs"].get(node) or {}).get("images", ())
    return [f"{item['filename']} [output]" for item in images if item["type"] == "output" and not item["subfolder"]]
