"""The runner's folders (input, output, temp, user, models) and ComfyUI's rules for names in them. No HTTP."""

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FILE_TYPES = ("input", "output", "temp")

_IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".svg", ".ico"}


class PathEscapes(Exception):
    """A name leads out of its folder."""


@dataclass(frozen=True)
class SavePlace:
    """Where a save node writes: `<folder>/<filename>_<counter, 5 digits>_.png`."""

    folder: Path
    filename: str
    counter: int
    subfolder: str


class Folders:
    """One runner's base directory. Made if it is not there; removed at the end if nobody named it."""

    def __init__(self, base: Path | None) -> None:
        self._own = base is None
        self.base = Path(tempfile.mkdtemp(prefix="comfyui-simulator-")) if base is None else base.absolute()
        for name in (*FILE_TYPES, "user"):
            (self.base / name).mkdir(parents=True, exist_ok=True)
        self._listings: dict[Path, tuple[int, list[str]]] = {}
        self._counters: dict[tuple[Path, str], tuple[int, int]] = {}

    def of_type(self, file_type: str) -> Path | None:
        """The folder for a `type` of ComfyUI's file references; None if there is no such type."""
        return self.base / file_type if file_type in FILE_TYPES else None

    def remove(self) -> None:
        """Delete the base directory, if it was made for this runner."""
        if self._own:
            shutil.rmtree(self.base, ignore_errors=True)

    def empty_temp(self) -> None:
        """What ComfyUI does when it starts and ends."""
        shutil.rmtree(self.base / "temp", ignore_errors=True)
        (self.base / "temp").mkdir(exist_ok=True)

    def input_images(self) -> Sequence[str]:
        """The options of LoadImage: picture files at the top of the input folder, sorted."""
        folder = self.base / "input"
        stamp = folder.stat().st_mtime_ns
        known = self._listings.get(folder)
        if known is None or known[0] != stamp:
            names = sorted(
                entry.name
                for entry in os.scandir(folder)
                if entry.is_file() and Path(entry.name).suffix.lower() in _IMAGE_SUFFIXES
            )
            known = self._listings[folder] = (stamp, names)
        return known[1]

    def annotated(self, name: str, default: str = "input") -> Path:
        """The file that a node's input names: "sub/a.png" or "a.png [output]". It need not exist."""
        bare, file_type = split_annotation(name)
        return self.base / (file_type or default) / bare

    def save_place(self, prefix: str, file_type: str, width: int, height: int) -> SavePlace:
        """Where the next picture with this filename_prefix goes (ComfyUI folder_paths.get_save_image_path).

        Raises:
            PathEscapes: the prefix leads out of the folder.
        """
        normal = os.path.normpath(_filled(prefix, width, height))
        subfolder, filename = os.path.split(normal)
        root = self.base / file_type
        folder = inside(root, subfolder)
        folder.mkdir(parents=True, exist_ok=True)
        return SavePlace(folder, filename, self._next_counter(folder, filename), subfolder)

    def saved(self, place: SavePlace, last_counter: int) -> None:
        """Remember what was written, so that the next counter needs no listing of the folder."""
        self._counters[place.folder, place.filename] = (place.folder.stat().st_mtime_ns, last_counter + 1)

    def _next_counter(self, folder: Path, filename: str) -> int:
        known = self._counters.get((folder, filename))
        if known is not None and known[0] == folder.stat().st_mtime_ns:
            return known[1]
        start = f"{filename}_"
        counters = [_digits(entry.name[len(start) :]) for entry in os.scandir(folder) if entry.name.startswith(start)]
        return max(counters, default=0) + 1


def _digits(rest: str) -> int:
    head = rest.split("_")[0]
    return int(head) if head.isdigit() else 0


def _filled(prefix: str, width: int, height: int) -> str:
    if "%" not in prefix:
        return prefix
    now = time.localtime()
    fields = {
        "width": str(width),
        "height": str(height),
        "year": str(now.tm_year),
        "month": f"{now.tm_mon:02}",
        "day": f"{now.tm_mday:02}",
        "hour": f"{now.tm_hour:02}",
        "minute": f"{now.tm_min:02}",
        "second": f"{now.tm_sec:02}",
    }
    for name, value in fields.items():
        prefix = prefix.replace(f"%{name}%", value)
    return prefix


def split_annotation(name: str) -> tuple[str, str | None]:
    """("a.png", "output") of "a.png [output]"; the type is None where there is none. The blank is part of the mark."""
    for file_type in FILE_TYPES:
        mark = f"[{file_type}]"
        if name.endswith(mark):
            return name[: -len(mark) - 1], file_type
    return name, None


def inside(root: Path, relative: str) -> Path:
    """`relative` under `root`, normalised.

    Raises:
        PathEscapes: it leads out.
    """
    path = Path(os.path.normpath(root / relative))
    if not path.is_relative_to(root):
        raise PathEscapes(relative)
    return path
