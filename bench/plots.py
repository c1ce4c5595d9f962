"""The newest results as pictures, PNG and SVG: ratios to the baselines of the same run, and curves of growth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from report import Curve, Found, Row

BLUE, RED, GREY = "#3b6ea5", "#b5483a", "#8a8a8a"


def draw(folder: Path, where: dict[str, Any], all_found: list[Found]) -> list[Path]:
    """Writes what there is to draw; returns the files."""
    foot = f"{where['date']}, {where['cores']} cores shared by load, simulated runners and gateway"
    written: list[Path] = []
    rows = [row for found in all_found for row in found.rows if row.ratio is not None and found.name != "growth"]
    if rows:
        written += _saved(folder / "ratios", _ratios(rows), foot)
    curves = [curve for found in all_found for curve in found.curves]
    if curves:
        written += _saved(folder / "growth", _growth(curves), foot)
    return written


def _saved(path: Path, figure: Any, foot: str) -> Iterator[Path]:
    figure.text(0.01, 0.005, foot, fontsize=7, color=GREY)
    for ending in (".png", ".svg"):
        figure.savefig(path.with_suffix(ending), dpi=130, metadata={"Date": None} if ending == ".svg" else {})
        yield path.with_suffix(ending)
    plt.close(figure)


def _ratios(rows: list[Row]) -> Any:
    figure, axes = plt.subplots(figsize=(9, 0.42 * len(rows) + 1.2), layout="constrained")
    places = range(len(rows), 0, -1)
    colours = [RED if row.met is False else BLUE for row in rows]
    axes.barh(places, [row.ratio for row in rows], color=colours, height=0.6)
    axes.set_xscale("log")
    axes.axvline(1, color=GREY, linewidth=1)
    axes.set_yticks(places, [row.what for row in rows], fontsize=8)
    for place, row in zip(places, rows, strict=True):
        axes.annotate(f" {row.ratio:.2f} × {row.against}", (row.ratio, place), va="center", fontsize=7)
    axes.set_xlabel("the gateway's figure over the baseline's (red: misses its target)")
    axes.margins(x=0.4)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _growth(curves: list[Curve]) -> Any:
    figure, all_axes = plt.subplots(
        1, len(curves), figsize=(4.5 * len(curves), 3.4), layout="constrained", squeeze=False
    )
    for axes, curve in zip(all_axes[0], curves, strict=True):
        xs, ys = zip(*curve.points, strict=True)
        axes.plot(xs, ys, marker="o", color=BLUE)
        axes.set_xscale("log")
        axes.set_xticks(xs, [f"{x:,.0f}" for x in xs])
        axes.set_ylim(bottom=0)
        axes.set_title(curve.what, fontsize=10)
        axes.set_xlabel(curve.x)
        axes.set_ylabel(curve.y, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
