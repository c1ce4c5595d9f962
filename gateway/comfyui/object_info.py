"""One `/object_info` for a pool: merging the runners' answers, and the gateway's own files in upload combos.

Inputs are never changed, and what needs no change is shared: these answers are up to 50 MB each.
"""

import mimetypes
import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.comfyui import definitions

_MORE_MEDIA_TYPES: Final = {  # what Python's own table lacks, depending on its version
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".mkv": "video/x-matroska",
    ".webm": "video/webm",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".opus": "audio/opus",
    ".m4a": "audio/mp4",
}
_PYTHONS_TYPES: Final = mimetypes.MimeTypes(filenames=()).types_map[True]

_MEDIA_OF_FLAG: Final = {
    "image_upload": frozenset({"image"}),
    "audio_upload": frozenset({"audio", "video"}),
    "video_upload": frozenset({"video"}),
}
_MEDIA: Final = frozenset({"image", "audio", "video"})


@dataclass(frozen=True, slots=True)
class Conflict:
    """A class that the runners define differently: groups of runners' names, the first one's definition is served."""

    class_type: str
    groups: tuple[tuple[str, ...], ...]


def merge(infos: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """One answer for all runners, given as (runner name, `/object_info`) in order of preference.

    All classes; of a class that several have the first one's definition, its combos with the others' values added.
    """
    merged: dict[str, Any] = {}
    for _, info in infos:
        for name, definition in info.items():
            known = merged.setdefault(name, definition)
            if known is not definition and known != definition:
                merged[name] = _with_joined_combos(known, definition)
    return merged


def conflicts(infos: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Conflict]:
    """The classes whose inputs or outputs differ between runners, by name or type; combo values and texts aside.

    Such runners have different versions of a node: a prompt made for one may fail on the other.
    """
    found = []
    for name in {name: None for _, info in infos for name in info}:
        owners = [(runner, info[name]) for runner, info in infos if name in info]
        if all(definition == owners[0][1] for _, definition in owners[1:]):
            continue
        groups: dict[Any, list[str]] = {}
        for runner, definition in owners:
            groups.setdefault(_signature(definition), []).append(runner)
        if len(groups) > 1:
            found.append(Conflict(name, tuple(map(tuple, groups.values()))))
    return found


def with_upload_options(object_info: Mapping[str, Any], files: Sequence[str]) -> dict[str, Any]:
    """The answer with `files`, the gateway's own inputs, as the values of all upload combos.

    A combo lists the kinds of files that its flag asks for, as ComfyUI does. Combos that are fetched from elsewhere or
    list another folder than the inputs stay as they are.
    """
    of_flag: dict[str, list[str]] = {}

    def options_for(spec: list[Any]) -> list[Any] | None:
        flag = definitions.upload_flag(spec)
        options = definitions.spec_options(spec)
        if flag is None or options.get("remote") or options.get("image_folder", "input") != "input":
            return None
        if flag not in of_flag:
            of_flag[flag] = [file for file in files if _suits(file, flag)]
        return of_flag[flag]

    return {
        name: _with_options(definition, lambda _section, _name, spec: options_for(spec))
        for name, definition in object_info.items()
    }


def _with_joined_combos(known: Any, other: Any) -> Any:
    if not isinstance(known, Mapping) or not isinstance(other, Mapping):
        return known
    more = {(section, name): definitions.combo_options(spec) for section, name, spec in definitions.input_specs(other)}

    def options_for(section: str, name: str, spec: list[Any]) -> list[Any] | None:
        own, others = definitions.combo_options(spec), more.get((section, name))
        return None if own is None or others is None or own == others else _joined(own, others)

    return _with_options(known, options_for)


def _joined(own: list[Any], others: list[Any]) -> list[Any]:
    seen = {_identity(value) for value in own}
    return own + [value for value in others if _identity(value) not in seen]


def _identity(value: object) -> tuple[type, Any]:
    """A key that tells 1 from True and takes lists."""
    return type(value), repr(value) if isinstance(value, list | dict) else value


def _with_options(definition: Any, options_for: Callable[[str, str, list[Any]], list[Any] | None]) -> Any:
    """A class's definition with other lists in its combos; `options_for` gives the list, None leaves the combo."""
    if not isinstance(definition, Mapping):
        return definition
    changed: dict[str, dict[str, Any]] = {}
    for section, name, spec in definitions.input_specs(definition):
        if definitions.combo_options(spec) is None:
            continue
        options = options_for(section, name, spec)
        if options is not None:
            changed.setdefault(section, {})[name] = _spec_with(spec, options)
    if not changed:
        return definition
    sections = definition["input"]
    return {**definition, "input": {**sections, **{key: {**sections[key], **specs} for key, specs in changed.items()}}}


def _spec_with(spec: list[Any], options: list[Any]) -> list[Any]:
    if isinstance(spec[0], list):
        return [options, *spec[1:]]
    return [spec[0], {**spec[1], "options": options}, *spec[2:]]


def _signature(definition: Any) -> Any:
    """What must agree for two definitions to be one node: inputs by name and type, outputs by type."""
    if not isinstance(definition, Mapping):
        return None
    inputs = frozenset(
        (section, name, "COMBO" if definitions.combo_options(spec) is not None else repr(spec[0]))
        for section, name, spec in definitions.input_specs(definition)
    )
    return inputs, repr(definition.get("output")), definition.get("output_node") is True


def _suits(file: str, flag: str) -> bool:
    media = _media_of(file)
    wanted = _MEDIA_OF_FLAG.get(flag)
    if wanted is not None:
        return media in wanted
    return flag != "file_upload" or media not in _MEDIA


def _media_of(file: str) -> str:
    """ "image", "audio", "video"… by the extension; "" if it is unknown. The system's own tables are not read."""
    extension = posixpath.splitext(file)[1].lower()
    mime = _MORE_MEDIA_TYPES.get(extension) or _PYTHONS_TYPES.get(extension, "")
    return mime.partition("/")[0]
