"""The values that output nodes report (`executed`, history): which files they name, and renaming them.

ComfyUI gives these values no schema: any list in a node's `ui` may hold objects with a `filename`. Which name a file
gets is decided elsewhere.
"""

import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

THREE_D_EXTENSIONS: Final = (".obj", ".fbx", ".gltf", ".glb", ".usdz")

_DEEPEST: Final = 100  # levels; no node nests further, and a hostile one shall not exhaust the stack
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_ASSET_ID_KEYS: Final = ("id", "preview_id")


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file as `/view` names it; `type` is "output", "temp" or "input"."""

    filename: str
    subfolder: str
    type: str


def output_file(item: dict[str, Any]) -> OutputFile:
    """The file that an item with a `filename` names; a missing subfolder is "", a missing type "output"."""
    subfolder, kind = item.get("subfolder"), item.get("type")
    return OutputFile(
        item["filename"],
        subfolder if isinstance(subfolder, str) else "",
        kind if isinstance(kind, str) and kind else "output",
    )


def files(output: Any) -> Iterator[OutputFile]:
    """Every file that `map_files` would ask about: objects with a string `filename` anywhere, in order, and 3D
    models given as plain paths."""
    for value in _walk(output):
        if _is_file_item(value):
            yield output_file(value)
        elif isinstance(value, str) and is_3d_path(value):
            yield _file_of_path(value)


def map_files(output: Any, rename: Callable[[OutputFile], OutputFile]) -> Any:
    """A copy of `output` with the files' names replaced; the same object where nothing changes.

    `rename` returns its argument for files that keep their name or that it doesn't know. `fullpath`, where an item has
    one, follows its filename as far as it ends with it. 3D models that a node names by a plain path
    (`"mesh/ComfyUI_00001_.glb"`) are asked for as files of the type "output".
    """
    return _mapped(output, rename, 0)


def strip_asset_ids(output: Any) -> Any:
    """`output` without the asset ids that newer runners add to files; they mean nothing outside of that runner."""
    return _stripped(output, 0)


def is_3d_path(value: str) -> bool:
    """Whether a string is taken as a 3D model's path (ComfyUI comfy_execution/jobs.py does the same)."""
    return value.lower().endswith(THREE_D_EXTENSIONS)


def _is_file_item(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("filename"), str)


def _walk(output: Any) -> Iterator[Any]:
    pending: list[tuple[Any, int]] = [(output, 0)]
    while pending:
        value, depth = pending.pop()
        yield value
        if depth >= _DEEPEST:
            continue
        if isinstance(value, list):
            pending.extend((item, depth + 1) for item in reversed(value))
        elif _is_file_item(value):
            pending.extend((item, depth + 1) for item in reversed(value.values()) if isinstance(item, dict | list))
        elif isinstance(value, dict):
            pending.extend((item, depth + 1) for item in reversed(value.values()))


def _mapped(value: Any, rename: Callable[[OutputFile], OutputFile], depth: int) -> Any:
    if isinstance(value, str):
        return _renamed_path(value, rename) if is_3d_path(value) else value
    if depth >= _DEEPEST and not _is_file_item(value):
        return value
    if isinstance(value, list):
        return _same_or([_mapped(item, rename, depth + 1) for item in value], value)
    if not isinstance(value, dict):
        return value
    is_file = _is_file_item(value)
    mapped = {
        key: item if (is_file and isinstance(item, str)) or depth >= _DEEPEST else _mapped(item, rename, depth + 1)
        for key, item in value.items()
    }
    if is_file:
        mapped.update(_renamed(value, rename))
    return _same_or(mapped, value)


def _renamed(item: dict[str, Any], rename: Callable[[OutputFile], OutputFile]) -> dict[str, Any]:
    """The keys of a file item that change."""
    old = output_file(item)
    new = rename(old)
    if new == old:
        return {}
    changes: dict[str, Any] = {"filename": new.filename}
    if new.subfolder != old.subfolder:
        changes["subfolder"] = new.subfolder
    if new.type != old.type:
        changes["type"] = new.type
    fullpath = item.get("fullpath")
    if isinstance(fullpath, str) and old.filename and fullpath.endswith(old.filename):
        changes["fullpath"] = fullpath.removesuffix(old.filename) + new.filename
    return changes


def _file_of_path(path: str) -> OutputFile:
    subfolder, _, filename = path.rpartition("/")
    return OutputFile(filename, subfolder, "output")


def _renamed_path(path: str, rename: Callable[[OutputFile], OutputFile]) -> str:
    old = _file_of_path(path)
    new = rename(old)
    return path if new == old else posixpath.join(new.subfolder, new.filename)


def _stripped(value: Any, depth: int) -> Any:
    if depth >= _DEEPEST:
        return value
    if isinstance(value, list):
        return _same_or([_stripped(item, depth + 1) for item in value], value)
    if not isinstance(value, dict):
        return value
    is_file = _is_file_item(value)
    kept = {
        key: _stripped(item, depth + 1)
        for key, item in value.items()
        if not (is_file and key in _ASSET_ID_KEYS and (item is None or _is_uuid(item)))
    }
    return _same_or(kept, value)


def _is_uuid(value: object) -> bool:
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def _same_or(copied: Any, original: Any) -> Any:
    """The original where the copy's parts are all the original's own, so that unchanged values stay shared."""
    if len(copied) != len(original):
        return copied
    parts = (
        zip(copied.values(), original.values(), strict=True)
        if isinstance(copied, dict)
        else zip(copied, original, strict=True)
    )
    return original if all(new is old for new, old in parts) else copied
