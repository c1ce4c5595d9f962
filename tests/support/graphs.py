"""Graphs that need no model."""

from typing import Any


def save_graph(seed: int, *, steps: int = 2, seconds: float = 0.0, prefix: str = "out", **probe: Any) -> dict[str, Any]:
    """EmptyImage -> ProgressProbe -> SaveImage; the picture is told apart by its seed."""
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": seed}},
        "2": {
            "class_type": "ProgressProbe",
            "inputs": {"image": ["1", 0], "steps": steps, "seconds": seconds, "seed": seed, "fail_at": -1} | probe,
        },
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": prefix}},
    }


def invert_graph(image: str) -> dict[str, Any]:
    """LoadImage -> ImageInvert -> PreviewImage."""
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": image}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
    }
