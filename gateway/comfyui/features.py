"""The feature flags that the gateway announces, on the websocket and at `GET /features`.

A flag that one runner lacks can't be promised for the pool, and what the gateway itself answers is its own to say.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

DEFAULT_MAX_UPLOAD_SIZE: Final = 104857600  # bytes, ComfyUI's own default

_OWN: Final = frozenset({"supports_preview_metadata", "max_upload_size", "extension", "assets"})


def merge(flags: Sequence[Mapping[str, Any]], *, max_upload_size: int) -> dict[str, Any]:
    """The flags of a pool whose runners announce `flags`; `max_upload_size` in bytes is the gateway's own limit.

    Kept is what all runners say: flags with one value everywhere, and booleans that are true everywhere (false if any
    says so). Assets are off, because their ids mean one runner only; Manager isn't announced, because it acts on one
    runner only. `max_upload_size` is the smallest.
    """
    merged: dict[str, Any] = {"supports_preview_metadata": True}
    common = {key: _common([runner[key] for runner in flags]) for key in _keys_of_all(flags) if key not in _OWN}
    merged |= {key: value for key, value in common.items() if value is not None}
    merged["max_upload_size"] = min([max_upload_size, *_upload_sizes(flags)])
    extension = _common_extension(flags)
    if extension:
        merged["extension"] = extension
    merged["assets"] = False
    return merged


def _keys_of_all(flags: Sequence[Mapping[str, Any]]) -> list[str]:
    return [key for key in flags[0] if all(key in runner for runner in flags[1:])] if flags else []


def _common(values: Sequence[Any]) -> Any:
    """The value that all agree on, or None. Booleans agree on the lesser."""
    if all(isinstance(value, bool) for value in values):
        return all(values)
    return values[0] if all(value == values[0] for value in values[1:]) else None


def _common_extension(flags: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    extensions = [runner.get("extension") for runner in flags]
    if not extensions or not all(isinstance(extension, Mapping) for extension in extensions):
        return {}
    known = [extension for extension in extensions if isinstance(extension, Mapping)]
    common = {key: _common([extension[key] for extension in known]) for key in _keys_of_all(known) if key != "manager"}
    return {key: value for key, value in common.items() if value is not None}


def _upload_sizes(flags: Sequence[Mapping[str, Any]]) -> list[int]:
    sizes = [runner.get("max_upload_size") for runner in flags]
    return [size for size in sizes if isinstance(size, int) and not isinstance(size, bool) and size > 0]
