"""The versions of the stock frontend that the browser tests use, each with the ComfyUI that it came with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from support import installs
from support.tabs import JobsPanel, Panel, QueueTab

MODELS = {  # what the default graphs of the frontends name; they look for the others on the internet
    "diffusion_models": ("z_image_turbo_bf16.safetensors",),
    "text_encoders": ("qwen_3_4b.safetensors",),
    "vae": ("ae.safetensors",),
}
SETTINGS = {"Comfy.TutorialCompleted": True}  # no first visit, which begins with the templates


@dataclass(frozen=True)
class Frontend:
    """A version of the stock frontend."""

    version: str
    comfyui: str
    panel: type[Panel]

    @property
    def root(self) -> Path:
        """The folder of its files."""
        return installs.frontend(self.version)

    def options(self) -> dict[str, Any]:
        """What makes a simulated runner such a ComfyUI."""
        return {"version": self.comfyui, "models": MODELS, "draw": True, "disable_api_nodes": False}


FRONTENDS = (Frontend("1.27.10", "0.3.64", QueueTab), Frontend("1.58.1", "0.33.0", JobsPanel))


async def seen_before(base: str, token: str | None = None) -> None:
    """Makes the server at ``base`` one whose user, or the owner of this token, is no newcomer."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(f"{base}/api/settings", json=SETTINGS) as answer,
    ):
        assert answer.status == 200, await answer.text()
