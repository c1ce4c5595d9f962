"""JSON as Python writes it: fast for the usual text, tolerant of the rest that runners do send.

ComfyUI serialises with Python's `json`, which also emits `NaN`, `Infinity` and lone surrogates. orjson refuses all
three, so what it refuses is tried once more with the standard library.
"""

import json
from typing import Any

import orjson


def loads(text: str | bytes) -> Any:
    """Parse JSON text; raises ValueError for what is not JSON (nesting too deep included)."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        try:
            return json.loads(text)
        except RecursionError:
            raise ValueError("JSON is nested too deeply") from error


def dumps(value: object) -> str:
    """Compact JSON text of `value`; NaN and infinities become null where orjson writes it.

    Raises TypeError for what JSON can't say, ValueError for what is nested too deeply or in a circle.
    """
    return dump_bytes(value).decode()


def dump_bytes(value: object) -> bytes:
    """As `dumps`, in UTF-8."""
    try:
        return orjson.dumps(value)
    except TypeError:
        # Long integers, lone surrogates, numbers as keys, deep nesting: Python's JSON takes what orjson refuses.
        try:
            return json.dumps(value, separators=(",", ":")).encode()
        except RecursionError as error:
            raise ValueError("nested too deeply for JSON") from error
