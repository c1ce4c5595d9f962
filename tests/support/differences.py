"""Where two JSON values differ."""

from __future__ import annotations

from typing import Any


def differences(expected: Any, actual: Any, path: str = "") -> list[str]:
    """One line for each place: its path, what is expected there, what is. 5 and 5.0 differ."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        found = [f"{path}.{name}: only the first has it: {_short(expected[name])}" for name in _more(expected, actual)]
        found += [f"{path}.{name}: only the second has it: {_short(actual[name])}" for name in _more(actual, expected)]
        for name in expected:
            if name in actual:
                found += differences(expected[name], actual[name], f"{path}.{name}")
        return found
    if isinstance(expected, list) and isinstance(actual, list):
        found = [] if len(expected) == len(actual) else [f"{path}: {len(expected)} items, but {len(actual)}"]
        for index, (one, other) in enumerate(zip(expected, actual, strict=False)):
            found += differences(one, other, f"{path}[{index}]")
        return found
    if type(expected) is not type(actual) or expected != actual:
        return [f"{path}: {_short(expected)}, but {_short(actual)}"]
    return []


def _more(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return [name for name in one if name not in other]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}…"
