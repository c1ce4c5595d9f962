"""Which models a job loads: the files that its loaders name. A loader is a node class that gives out something that is
a model, and chooses a file for it."""

from __future__ import annotations

from typing import Any

from gateway.comfyui.catalogue import NodeClass

MODEL_TYPES = frozenset({"CLIP", "VAE", "CONTROL_NET", "GLIGEN", "CLIP_VISION", "PHOTOMAKER", "AUDIO_ENCODER"})
MODEL_SUFFIXES = (".safetensors", ".sft", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".gguf", ".onnx", ".pkl", ".engine")


def is_loader(node_class: NodeClass) -> bool:
    """Whether it gives out a model: ComfyUI's types of them, or one that says so in its name, as custom nodes' do
    (UPSCALE_MODEL, WANVIDEOMODEL)."""
    return any(kind in MODEL_TYPES or "MODEL" in kind for kind in node_class.outputs)


def is_model_file(value: Any) -> bool:
    """Whether a combo's value is the name of a model's file."""
    return isinstance(value, str) and value.lower().endswith(MODEL_SUFFIXES)
