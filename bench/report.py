"""What benchmarks find, and how it is shown: a table in the terminal, Markdown for the README, JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SHARED = "the load, the simulated runners and the gateway shared them"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: what was measured.
        found: the figure, with its unit.
        against: the baseline of the same run, with its figure; "" for none.
        ratio: the figure over the baseline's; None where that says nothing.
        target: what it must reach; "" where it is only reported.
        met: whether it does.
        note: what else is to be known, such as what stands in the way.
    """

    what: str
    found: str
    against: str = ""
    ratio: float | None = None
    target: str = ""
    met: bool | None = None
    note: str = ""

    def cells(self) -> list[str]:
        """As columns of the table."""
        ratio = "" if self.ratio is None else f"{self.ratio:.2f} ×"
        met = {True: "yes", False: "**no**", None: ""}[self.met]
        return [self.what, self.found, self.against, ratio, self.target, met, self.note]


@dataclass(frozen=True)
class Curve:
    """How a cost grows: ``points`` are (x, y), in the order of x."""

    what: str
    x: str
    y: str
    points: list[tuple[float, float]]


@dataclass
class Found:
    """What one benchmark found; ``failure`` where it could not be carried out."""

    name: str
    rows: list[Row] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    failure: str = ""
    seconds: float = 0.0


HEADS = ["measured", "gateway", "against", "ratio", "must reach", "met", "note"]


def machine() -> dict[str, Any]:
    """Where and when this is."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "load_before": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def text(found: Found) -> str:
    """One benchmark for the terminal."""
    lines = [f"{found.name} ({found.seconds:.0f} s)"]
    for row in found.rows:
        what, figure, against, ratio, target, met, note = row.cells()
        head = f"  {what:<44} {figure:>22}"
        rest = [f"against {against}" if against else "", ratio, f"must reach {target}" if target else ""]
        lines.append(head + "   " + ", ".join(part for part in [*rest, met.strip("*") and f"met: {met}", note] if part))
    for curve in found.curves:
        points = ", ".join(f"{x:g}: {y:.3g}" for x, y in curve.points)
        lines.append(f"  {curve.what}, {curve.y} by {curve.x}: {points}")
    if found.failure:
        lines.append(f"  NOT MEASURED: {found.failure}")
    return "\n".join(lines)


def markdown(where: dict[str, Any], all_found: Sequence[Found]) -> str:
    """The table for the README."""
    lines = [
        f"Measured on {where['date']}, Python {where['python']}, {where['cores']} cores ({where['processor']}); "
        f"{SHARED}. `make bench` repeats it.",
        "",
        "| " + " | ".join(HEADS) + " |",
        "|" + " --- |" * len(HEADS),
    ]
    for found in all_found:
        lines += ["| " + " | ".join(row.cells()) + " |" for row in found.rows]
        if found.failure:
            lines.append(f"| {found.name} | not measured | | | | | {found.failure} |")
    return "\n".join(lines)


def write(folder: Path, where: dict[str, Any], all_found: Sequence[Found]) -> Path:
    """The results as JSON."""
    folder.mkdir(exist_ok=True)
    path = folder / "latest.json"
    path.write_text(json.dumps({"machine": where, "benchmarks": [asdict(each) for each in all_found]}, indent=1) + "\n")
    return path
