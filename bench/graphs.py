"""The prompts that benchmarks send."""

from __future__ import annotations

import json
from typing import Any

from wire import request

GROUPS = 19  # of five nodes each, beside a loader and four texts: 100 nodes


def small(number: int, *, seconds: float = 0.0, steps: int = 2) -> dict[str, Any]:
    """Three nodes, about 300 bytes."""
    probe = {"image": ["1", 0], "steps": steps, "seconds": seconds, "seed": number, "fail_at": -1}
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 1}},
        "2": {"class_type": "ProgressProbe", "inputs": probe},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "bench"}},
    }


def large(number: int) -> dict[str, Any]:
    """A hundred nodes, about 13 kB."""
    nodes: dict[str, Any] = {
        "m": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5-pruned-emaonly-fp16.safetensors"}}
    }
    for text in range(4):
        words = f"a harbour in the evening, boats, lamps, {text} of {number}"
        nodes[f"t{text}"] = {"class_type": "CLIPTextEncode", "inputs": {"text": words, "clip": ["m", 1]}}
    for group in range(GROUPS):
        sampler = {"steps": 20, "cfg": 7.5, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
        links = {"positive": [f"p{group}", 0], "negative": [f"t{group % 4}", 0], "latent_image": [f"l{group}", 0]}
        words = f"a castle on a hill, oil on canvas, number {group} of {number}"
        nodes |= {
            f"l{group}": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512, "batch_size": 1}},
            f"p{group}": {"class_type": "CLIPTextEncode", "inputs": {"text": words, "clip": ["m", 1]}},
            f"k{group}": {"class_type": "KSampler", "inputs": {"seed": number, "model": ["m", 0], **sampler, **links}},
            f"d{group}": {"class_type": "VAEDecode", "inputs": {"samples": [f"k{group}", 0], "vae": ["m", 2]}},
            f"s{group}": {"class_type": "SaveImage", "inputs": {"images": [f"d{group}", 0], "filename_prefix": "b"}},
        }
    return nodes


def submission(prompt: dict[str, Any], client_id: str = "bench") -> bytes:
    """The bytes of a POST /prompt."""
    return request("POST", "/prompt", json.dumps({"prompt": prompt, "client_id": client_id}).encode())
