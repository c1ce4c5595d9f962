"""Progress of the running prompt's nodes, told to clients as ComfyUI tells it (comfy_execution/progress.py)."""

from typing import Any

from gateway.comfyui import frames
from gateway.simulator.sockets import Sockets

PREVIEW_FEATURE = "supports_preview_metadata"
_PNG_START = b"\x89PNG"


class Progress:
    """One prompt's progress; `client_id` None tells everyone, as ComfyUI does for prompts without one."""

    def __init__(self, sockets: Sockets, prompt_id: str, client_id: str | None) -> None:
        self._sockets = sockets
        self._prompt_id = prompt_id
        self._client_id = client_id
        self._nodes: dict[str, dict[str, Any]] = {}

    def start(self, node_id: str) -> None:
        """A node begins."""
        self._set(node_id, 0.0, 1.0, "running")
        self._tell()

    def finish(self, node_id: str) -> None:
        """A node ended, or was found in the cache."""
        known = self._nodes.get(node_id)
        end = 1 if known is None else known["max"]
        self._set(node_id, end, end, "finished")
        self._tell()

    def update(self, node_id: str, value: int, maximum: int, image: bytes | None) -> None:
        """A node is at `value` of `maximum`; with an image, a preview goes out in the frame the client can read."""
        self._set(node_id, value, maximum, "running")
        self._tell()
        with_metadata = self._sockets.supports(self._client_id, PREVIEW_FEATURE)
        if image is not None and with_metadata:
            self._preview(image, {"node_id": node_id, "prompt_id": self._prompt_id, **_places(node_id)})
        progress = {"value": value, "max": maximum, "prompt_id": self._prompt_id, "node": node_id}
        self._sockets.send("progress", progress, self._client_id)
        if image is not None and not with_metadata:
            self._preview(image, None)

    def _preview(self, image: bytes, metadata: dict[str, Any] | None) -> None:
        mime: frames.PreviewMime = "image/png" if image.startswith(_PNG_START) else "image/jpeg"
        self._sockets.send_preview(frames.Preview(image, mime, metadata), self._client_id)

    def _set(self, node_id: str, value: float, maximum: float, state: str) -> None:
        # A new object each time: messages on their way keep the old one.
        self._nodes[node_id] = {
            "value": value,
            "max": maximum,
            "state": state,
            "node_id": node_id,
            "prompt_id": self._prompt_id,
            **_places(node_id),
        }

    def _tell(self) -> None:
        data = {"prompt_id": self._prompt_id, "nodes": self._nodes.copy()}
        self._sockets.send("progress_state", data, self._client_id)


def _places(node_id: str) -> dict[str, str | None]:
    return {"display_node_id": node_id, "parent_node_id": None, "real_node_id": node_id}
