"""Answers and frames in words that two servers share: without times, machines, random letters and encoders' bytes."""

from __future__ import annotations

import json
import re
from typing import Any

import aiohttp

from gateway.comfyui import frames

IGNORED_HEADERS = {"Server", "Date"}
TIMES = {"timestamp", "create_time", "execution_start_time", "execution_end_time", "modified", "created", "t"}
MACHINE = {"ram_total", "ram_free", "vram_total", "vram_free", "torch_vram_total", "torch_vram_free"} | {
    "python_version",
    "pytorch_version",
}

Told = dict[str, Any]


def frame_of(message: aiohttp.WSMessage) -> Told:
    """A websocket frame, as recordings have it."""
    if message.type is aiohttp.WSMsgType.TEXT:
        return {"text": json.loads(message.data)}
    assert message.type is aiohttp.WSMsgType.BINARY, message
    return {"binary_len": len(message.data), "head_ascii": message.data[:400].decode("latin-1")}


def normal(value: Any, base: str, key: str = "") -> Any:
    """A value without what differs between two servers of one version: times, machines, random letters, tracebacks."""
    if key in TIMES:
        return f"<{type(value).__name__}>"
    if key in MACHINE:
        return f"<{key}>"
    if key == "traceback":
        return "<traceback>"
    if key == "current_outputs":  # the order of a set
        return sorted(value)
    if key == "headers":
        return _normal_headers(value)
    if key == "argv":
        return [item for item in _normal_items(value, base) if not item.isdigit()]
    if isinstance(value, dict):
        if "head_ascii" in value:
            return _normal_binary(value)
        return {name: normal(item, base, name) for name, item in value.items() if name != "t" or "m" in value}
    if isinstance(value, list):
        return _normal_items(value, base)
    if isinstance(value, str):
        return _normal_text(value, base)
    return value


def _normal_items(items: list[Any], base: str) -> list[Any]:
    return [normal(item, base) for item in items]


def _normal_text(text: str, base: str) -> str:
    text = text.replace(base, "{base}")
    text = re.sub(r"^tensor\(.*\)$", "<tensor>", text, flags=re.DOTALL)
    text = re.sub(r"ComfyUI_temp_[a-z]{5}_", "ComfyUI_temp_?????_", text)
    text = re.sub(r"Prompt executed in [\d.]+ seconds", "Prompt executed in ? seconds", text)
    text = re.sub(r"^(.+)_[0-9a-f]{8}-[0-9a-f-]{27}$", r"\1_<uuid>", text)
    return re.sub(r"^[0-9a-f]{32}$", "<sid>", text)


def _normal_headers(headers: dict[str, str]) -> dict[str, str]:
    """Lengths of JSON texts differ by their blanks; of an ETag only the size is the same."""
    normal = {name: text for name, text in headers.items() if name not in IGNORED_HEADERS}
    if "json; charset" in normal.get("Content-Type", ""):
        normal.pop("Content-Length", None)
    if "Etag" in normal:
        normal["Etag"] = re.sub(r'"[0-9a-f]+-', '"<mtime>-', normal["Etag"])
    if "Last-Modified" in normal:
        normal["Last-Modified"] = "<date>"
    return normal


def _normal_binary(frame: Told) -> Told:
    """Kind, metadata and size to a few hundred bytes of the picture; encoders differ in the rest."""
    head = frame["head_ascii"].encode("latin-1") if frame["head_ascii"] else bytes.fromhex(frame["head_hex"])
    event = frames.event_of(head)
    if event == frames.BinaryEvent.PREVIEW_IMAGE:
        return {"event": event, "format": int.from_bytes(head[4:8]), "size": round((frame["binary_len"] - 8) / 500)}
    length = int.from_bytes(head[4:8])
    metadata = json.loads(head[8 : 8 + length])
    return {"event": event, "metadata": metadata, "size": round((frame["binary_len"] - 8 - length) / 500)}
