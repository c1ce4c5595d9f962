"""All benchmarks, or those that are named, one after the other: `make bench`, `make bench ONLY=submissions`. Under ten
minutes, loopback only; it ends by itself, and fails nothing.

The table and the figures that the README shows are in bench/results afterwards; `--readme` also puts the table there.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import tempfile
import time
from pathlib import Path

import report
from pool import Stage
from report import Found

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
LIMITS = {  # seconds for each, in the order in which they are carried out
    "submissions": 90,
    "latency": 60,
    "relay": 75,
    "view": 60,
    "lists": 110,
    "burst": 90,
    "idle": 90,
    "growth": 80,
    "models": 60,
}
LONGEST_SECONDS = 580.0  # for all of them
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


async def carried_out(name: str, folder: Path, part: float, until: float) -> Found:
    """What a benchmark found; one that fails or takes too long tells so, and the others go on."""
    began = time.perf_counter()
    limit = min(LIMITS[name], until - began)
    try:
        async with asyncio.timeout(limit), Stage.open(folder / name, part) as stage:
            found: Found = await importlib.import_module(f"measures.{name}").measure(stage)
    except TimeoutError:
        found = Found(name, failure=f"not done within {limit:.0f} s")
    except Exception as error:  # noqa: BLE001  of any kind: the others are to be carried out
        found = Found(name, failure=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    found.seconds = round(time.perf_counter() - began, 1)
    return found


def in_readme(table: str) -> None:
    """Puts the table between its marks. Raises ValueError: they are not there."""
    path = ROOT / "README.md"
    before, mark, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"README.md has no {BEGIN} … {END}")
    path.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(LIMITS))
    parser.add_argument("--part", type=float, default=1.0, help="do only this part of all work, such as 0.1")
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(LIMITS)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(LIMITS)}")
    os.chdir(ROOT)
    where, all_found, began = report.machine(), [], time.perf_counter()
    print(f"{where['date']}, {where['cores']} cores ({where['processor']}), load {where['load_before']} before")
    print(f"{report.SHARED}\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.names or LIMITS:
            found = asyncio.run(carried_out(name, Path(folder), arguments.part, began + LONGEST_SECONDS))
            all_found.append(found)
            print(report.text(found) + "\n", flush=True)
    table = report.markdown(where, all_found)
    print(table)
    drawn: list[Path] = []
    if not arguments.names and arguments.part == 1.0:
        print(f"\nwritten: {report.write(RESULTS, where, all_found)}")
        drawn = _draw(where, all_found)
    if arguments.readme:
        pictures = [path.relative_to(ROOT) for path in drawn if path.suffix == ".svg"]
        in_readme("\n\n".join([table, *(f"![{path.stem}]({path})" for path in pictures)]))


def _draw(where: dict[str, object], all_found: list[Found]) -> list[Path]:
    try:
        import plots
    except ImportError as error:
        print(f"no plots: {error}; pip install -e '.[bench]'")
        return []
    drawn = list(plots.draw(RESULTS, where, all_found))
    print(f"written: {', '.join(path.name for path in drawn)}")
    return drawn


if __name__ == "__main__":
    main()
