"""What a simulated runner can be told before it starts. Faults, which come and go while it runs, live in `faults`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp.web import RouteDef

    from gateway.simulator.nodes import NodeClass

DEFAULT_CHECKPOINTS = ("v1-5-pruned-emaonly-fp16.safetensors",)
"""The checkpoint that the stock frontend's default graph names."""

DEFAULT_MAX_UPLOAD_SIZE = 100 * 1024 * 1024  # bytes, ComfyUI's own --max-upload-size


@dataclass(frozen=True, kw_only=True)
class SimulatorOptions:
    """Everything fixed about one simulated runner.

    Durations are seconds as ComfyUI would take them; `speed` divides all of them (10 is ten times faster).
    """

    name: str = "simulated"
    """Drawn on every picture, and the name of the device in /system_stats."""
    host: str = "127.0.0.1"
    port: int = 0
    """0 takes a free port, which the runner then keeps over restarts."""
    version: str = "0.33.0"
    """Which ComfyUI to imitate: 0.33.0 or 0.3.64."""
    base_dir: Path | None = None
    """Holds input, output, temp, user and models; None makes a folder that is removed at the end."""

    checkpoints: Sequence[str] = DEFAULT_CHECKPOINTS
    """Names that CheckpointLoaderSimple offers; no such files need to exist."""
    models: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Names of model files per further folder, such as {"loras": ("a.safetensors",)}. Of `diffusion_models`,
    `text_encoders` and `vae` the loaders of those names offer them. Only checkpoints and diffusion models take time to
    load and room on the device."""
    extra_nodes: Sequence["NodeClass"] = ()
    """Node classes beyond the built-in ones; one with a known name replaces it."""

    extra_routes: Sequence["RouteDef"] = ()
    """Routes of custom nodes, served bare and under /api, before ComfyUI's own."""

    seconds_per_step: float = 0.0
    """Duration of a KSampler step."""
    seconds_per_node: float = 0.0
    """Duration of every node before its own work."""
    load_seconds: float = 0.0
    """Duration of loading a checkpoint that is not loaded."""
    models_kept: int = 1
    """How many checkpoints stay loaded; one more throws the least recently used out."""
    speed: float = 1.0

    draw: bool = True
    """Draw seed and runner on the pictures; False makes flat, tiny and cheap ones, still unique per seed and runner."""
    preview_size: int = 512
    """Longest side in pixels of the previews; 0 sends none."""

    required_header: tuple[str, str] | None = None
    """A header every request must carry, as a server behind an authenticating proxy wants it; else 401."""
    deaf_bug: bool = True
    """ComfyUI's own: the close of an old socket makes the newer one with the same clientId deaf."""
    disable_api_nodes: bool = True
    """As ComfyUI's flag: a Content-Security-Policy on every answer."""
    max_upload_size: int = DEFAULT_MAX_UPLOAD_SIZE
    """Bytes a request's body may have."""
    front_end_root: Path | None = None
    """Folder of the frontend; None takes the installed comfyui-frontend-package, else a tiny page."""

    @property
    def model_files(self) -> dict[str, Sequence[str]]:
        """Names of all model files by folder, the checkpoints among them."""
        return {**self.models, "checkpoints": self.checkpoints}
