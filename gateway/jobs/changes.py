"""The changes of state of a job or of an attempt, each with its time: JSON that only grows, stored as it is, and parsed
when somebody asks for the story."""

from __future__ import annotations

from typing import Any

from gateway.comfyui import json_text

NONE = b"[]"
BYTES_MOST = 16_000  # past that, changes in the middle are left out
REASON_MOST = 500  # characters
KEPT_FIRST, KEPT_LAST = 5, 30


def with_change(changes: bytes, state: str, at: int, reason: str = "", runner: str | None = None) -> bytes:
    """The changes with one more: ``{"state", "at", "reason", "runner"}``, ``at`` in milliseconds since the epoch."""
    change = {"state": state, "at": at, "reason": reason[:REASON_MOST] or None, "runner": runner}
    if len(changes) > BYTES_MOST:
        known = json_text.loads(changes)
        changes = json_text.dumps([*known[:KEPT_FIRST], *known[-KEPT_LAST:]]).encode()
    return b"%b%b%b]" % (changes[:-1], b"," if len(changes) > len(NONE) else b"", json_text.dump_bytes(change))


def as_list(changes: bytes | None) -> list[dict[str, Any]]:
    """The changes, oldest first."""
    return [] if changes is None else list(json_text.loads(changes))
