"""A gateway's answers and frames without what marks it as one, so that the rest can be compared with a runner's.

Left out are the headers X-Gateway-* and the browser's cookie, and `status` frames from a sequence: a gateway tells the
length of its queue at most so often a second. What matters of them is the last one before everything rests, which
stands beside the sequence instead.
"""

from __future__ import annotations

from typing import Any

GATEWAY_HEADERS = ("X-Gateway-", "Set-Cookie")


def plain(value: Any) -> Any:
    """A recorded or told value in which headers and sequences of frames are as said above."""
    if isinstance(value, dict):
        told = {name: plain(item) for name, item in value.items()}
        if isinstance(told.get("headers"), dict):
            told["headers"] = without_gateway_headers(told["headers"])
        return told
    if isinstance(value, list):
        return [plain(item) for item in value if not is_status(item)]
    return value


def without_gateway_headers(headers: dict[str, Any]) -> dict[str, Any]:
    """Headers that a runner could have sent."""
    return {name: text for name, text in headers.items() if not name.startswith(GATEWAY_HEADERS)}


def is_status(frame: Any) -> bool:
    """Whether a frame, as recordings have them, tells the length of the queue; not the one that tells the sid."""
    if not isinstance(frame, dict) or not isinstance(frame.get("text"), dict):
        return False
    message = frame["text"]
    return message.get("type") == "status" and "sid" not in message["data"]


def last_status(frames: list[Any]) -> Any:
    """What the last of them told; None without any."""
    told = [each["text"]["data"] for each in frames if isinstance(each, dict) and _is_any_status(each)]
    return told[-1]["status"]["exec_info"]["queue_remaining"] if told else None


def _is_any_status(frame: dict[str, Any]) -> bool:
    return isinstance(frame.get("text"), dict) and frame["text"].get("type") == "status"
