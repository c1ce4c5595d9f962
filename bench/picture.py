"""Draws docs/scheduling.svg from the table of `placement.py`; bars are on a logarithmic scale, by hand: no library.

python bench/picture.py [--seeds 5]
"""

from __future__ import annotations

import argparse
import math
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from placement import BOUND, MIXES, row

SHOWN = {
    "round robin": "#9aa5b1",
    "least connections": "#7b8794",
    "least queue, by speed": "#616e7c",
    "warm, else the model with most waiting": "#e3b341",
    "warm (the gateway's)": "#2e7d6b",
}
WIDTH, HEIGHT, LEFT, TOP, BAR, GAP = 860, 330, 46, 56, 32, 34
DECADES = 3  # of the scale


def drawn(ratios: dict[str, list[float]]) -> str:
    base, tall = HEIGHT - 44, HEIGHT - 44 - TOP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
    ]
    for decade in range(DECADES + 1):
        y = base - tall * decade / DECADES
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 8}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e4e7eb"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#52606d">{10**decade} ×</text>')
    for group, mix in enumerate(MIXES):
        start = LEFT + 12 + group * (len(SHOWN) * BAR + GAP)
        for place, (name, colour) in enumerate(SHOWN.items()):
            ratio = ratios[name][group]
            height = tall * min(DECADES, math.log10(max(1.0, ratio))) / DECADES
            x, text = start + place * BAR, f"{ratio:.1f}" if ratio < 100 else f"{ratio:.0f}"
            parts.append(
                f'<rect x="{x}" y="{base - height:.1f}" width="{BAR - 4}" height="{height:.1f}" fill="{colour}"/>'
                f'<text x="{x + (BAR - 4) / 2}" y="{base - height - 4:.1f}" text-anchor="middle">{text}</text>'
            )
        middle = start + len(SHOWN) * BAR / 2
        label = f"{mix.models} models, {mix.kept} kept, {mix.load:.0%} load"
        parts.append(f'<text x="{middle}" y="{base + 20}" text-anchor="middle">{label}</text>')
    for place, (name, colour) in enumerate(SHOWN.items()):
        x, y = LEFT + 12 + place % 3 * 270, 14 + place // 3 * 18
        parts.append(f'<rect x="{x}" y="{y - 9}" width="11" height="11" fill="{colour}"/>')
        parts.append(f'<text x="{x + 17}" y="{y}">{name}</text>')
    return "\n".join([*parts, "</svg>\n"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args().seeds
    with ProcessPoolExecutor() as processes:
        rows = {name: processes.submit(row, name, seeds) for name in (BOUND, *SHOWN)}
        bound = [mean for mean, _, _ in rows[BOUND].result()]
        ratios = {
            name: [mean / least for (mean, _, _), least in zip(rows[name].result(), bound, strict=True)]
            for name in SHOWN
        }
    (Path(__file__).parents[1] / "docs" / "scheduling.svg").write_text(drawn(ratios))


if __name__ == "__main__":
    main()
