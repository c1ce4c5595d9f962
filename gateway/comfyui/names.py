"""File names as ComfyUI reads and makes them: annotations, upload names, output counters, and which paths are safe.

No file is touched here; whether a name is taken is the caller's to say.
"""

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeGuard

FileType = Literal["input", "output", "temp"]
FILE_TYPES: Final[tuple[FileType, ...]] = ("input", "output", "temp")

_COUNTER: Final = re.compile(
    r"(?P<prefix>.*)_(?:(?P<own>[0-9]{1,18})(?P<own_suffix>_(?:\.[^/]*)?)|(?P<bare>[0-9]{5,18})(?P<bare_suffix>(?:-\w+)?\.[^/]*))",
    re.DOTALL,
)
_DRIVE: Final = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class AnnotatedName:
    """What a string such as `sub/a.png [output]` names. `subfolder` is "" for the folder of the type itself."""

    filename: str
    subfolder: str
    type: FileType


@dataclass(frozen=True, slots=True)
class Counter:
    """The parts of a numbered output name: `{prefix}_{number:0{width}}{suffix}`."""

    prefix: str
    number: int
    width: int
    suffix: str


def is_file_type(value: object) -> TypeGuard[FileType]:
    """Whether `value` is one of ComfyUI's three folders for clients' files."""
    return isinstance(value, str) and value in FILE_TYPES


def parse_annotated(value: str, default_type: FileType = "input") -> AnnotatedName:
    """Read a file input's value. Its annotation counts only at the very end, with the character before it cut off.

    Paths that stay inside their folder are normalised (`a//b.png`, `./b.png`); others are kept as they are, for
    `is_safe_subfolder` to refuse. Source: ComfyUI folder_paths.annotated_filepath.
    """
    bare, annotation = split_annotation(value)
    kind = annotation or default_type
    subfolder, slash, filename = bare.rpartition("/")
    if slash and not subfolder:
        subfolder = "/"
    elif is_safe_subfolder(subfolder):
        subfolder = normal_subfolder(subfolder)
    return AnnotatedName(filename, subfolder, kind)


def split_annotation(value: str) -> tuple[str, FileType | None]:
    """("sub/a.png", "output") of "sub/a.png [output]"; the type is None where there is none."""
    for kind in FILE_TYPES:
        if value.endswith(f"[{kind}]"):
            return value[: -len(kind) - 3], kind
    return value, None


def format_annotated(name: AnnotatedName, default_type: FileType = "input") -> str:
    """The input value that names this file; annotated only where it has to be."""
    path = posixpath.join(name.subfolder, name.filename)
    if name.type == default_type and not path.endswith(tuple(f"[{kind}]" for kind in FILE_TYPES)):
        return path
    return f"{path} [{name.type}]"


def deduplicated(name: str, taken: Callable[[str], bool]) -> str:
    """The name an upload gets: itself, or the first free of `x (1).png`, `x (2).png`…

    `taken` says whether another file, with other content, has a name. Source: ComfyUI server.py image_upload.
    """
    stem, extension = posixpath.splitext(name)
    candidate = name
    number = 1
    while taken(candidate):
        candidate = f"{stem} ({number}){extension}"
        number += 1
    return candidate


def is_safe_filename(filename: str) -> bool:
    """Whether `/view` takes this name, its annotation removed; if not, it answers 400.

    Refused are empty names, a leading slash and `..` anywhere (ComfyUI server.py view_image), and also NUL.
    """
    return bool(filename) and filename[0] != "/" and ".." not in filename and "\0" not in filename


def is_safe_subfolder(subfolder: str) -> bool:
    """Whether a path stays inside its folder; if not, `/view` answers 403 and the upload routes 400.

    Backslashes count as separators, for the runners that live on Windows.
    """
    if "\0" in subfolder or _DRIVE.match(subfolder):
        return False
    path = subfolder.replace("\\", "/")
    return not path.startswith("/") and posixpath.normpath(path).split("/", 1)[0] != ".."


def is_safe_upload(filename: str, subfolder: str) -> bool:
    """Whether the upload routes take this name into this subfolder; if not, they answer 400."""
    path = posixpath.join(subfolder, filename)
    return bool(filename) and is_safe_subfolder(path) and normal_subfolder(path) != normal_subfolder(subfolder)


def normal_subfolder(subfolder: str) -> str:
    """One spelling per folder: `pasted/`, `./pasted` and `pasted` are the same, "" is the root."""
    path = posixpath.normpath(subfolder)
    return "" if path == "." else path


def split_counter(filename: str) -> Counter | None:
    """The counter in an output's name, or None.

    Known are `ComfyUI_00001_.png` (ComfyUI's own savers) and `video_00001.mp4`, `video_00001-audio.mp4` (five digits
    or more, as others write it), so that `IMG_1234.png` stays a plain name.
    """
    match = _COUNTER.fullmatch(filename)
    if match is None:
        return None
    digits = match["own"] or match["bare"]
    return Counter(match["prefix"], int(digits), len(digits), match["own_suffix"] or match["bare_suffix"])


def format_counter(counter: Counter, number: int) -> str:
    """The name with these parts and another number."""
    return f"{counter.prefix}_{number:0{counter.width}}{counter.suffix}"
