"""A gateway with ten thousand waiting and ten thousand ended jobs: its start, and what clients ask it for lists."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from pool import Gateway, Runners, Stage, cpu_seconds, until
from report import Found, Row
from support.seeds import seed
from wire import Measured, load, request

WAITING, ENDED = 10_000, 10_000  # jobs
RUNNERS = 8
CORE_CLASSES = 800  # beside the simulated ones: together 0.3 MB, as ComfyUI's own have
MANY_CLASSES = 13_000  # 5 MB, as the smaller servers with custom nodes have
START_SECONDS = 2.0
LOOK_SECONDS = 0.05  # between two looks at the runners, which share the cores with what starts
P99_MS = 20.0
OBJECT_INFO_RATIO = 50
BROWSER = {"Accept_Encoding": "gzip, deflate"}
LISTS = (  # paths, requests, whether the target is theirs
    ("/queue, uncompressed", "/queue", 10, False),
    ("/api/jobs", "/api/jobs?limit=200", 200, True),
    ("/api/jobs, waiting ones", "/api/jobs?status=in_progress,pending&limit=200", 200, True),
    ("/history", "/history?max_items=200", 200, True),
    ("/history, all", "/history", 3, False),
    ("/prompt", "/prompt", 300, False),
)


async def measure(stage: Stage) -> Found:
    found = Found("lists")
    runners = await stage.runners(RUNNERS, *_classes(CORE_CLASSES))
    await runners.pause()
    folder = stage.sub("many")
    (folder / "data").mkdir()
    await seed(folder / "data" / "gateway.db", waiting=stage.some(WAITING), ended=stage.some(ENDED))
    began = time.perf_counter()
    watching = asyncio.create_task(_first_dispatch(runners))
    gateway = await stage.gateway(runners.all, folder)
    seconds = await watching - began
    empty = await _start_of_an_empty_one(stage)
    what = f"start with {WAITING:,} waiting and {ENDED:,} ended jobs to the first dispatch"
    found.rows.append(
        Row(
            what,
            f"{seconds:.2f} s",
            f"{empty:.2f} s, an empty one until it serves",
            seconds / empty,
            "≤ 2 s",
            seconds <= START_SECONDS,
        )
    )
    await until(lambda: _has_settled(gateway), "what it does by itself after its start is done")
    found.rows.append(await _object_info(stage, runners, gateway))
    found.rows.append(await _object_info_of_many(stage))
    found.rows.append(await _queue(stage, gateway))
    for name, path, count, is_held in LISTS:
        measured = await load(gateway.port, [request("GET", path)] * stage.some(count), stage.folder, 1)
        found.rows.append(_row(name, measured, is_held=is_held))
    return found


async def _first_dispatch(runners: Runners) -> float:
    await until(lambda: _any_has_a_job(runners), "a job is given out", every=LOOK_SECONDS)
    return time.perf_counter()


async def _any_has_a_job(runners: Runners) -> bool:
    return any(state["queue_remaining"] for state in await asyncio.gather(*(each.state() for each in runners.all)))


async def _start_of_an_empty_one(stage: Stage) -> float:
    runners = await stage.runners(1)
    began = time.perf_counter()
    await stage.gateway(runners.all)
    return time.perf_counter() - began


async def _has_settled(gateway: Gateway) -> bool:
    before = cpu_seconds(gateway.pid)
    await asyncio.sleep(1)
    return cpu_seconds(gateway.pid) - before < 0.1


def _classes(count: int) -> list[str]:
    """Arguments of simulated runners that have so many more node classes."""
    return [part for number in range(count) for part in ("--extra-node", f"Custom{number}")]


async def _object_info_of_many(stage: Stage) -> Row:
    runners = await stage.runners(1, *_classes(MANY_CLASSES))
    return await _object_info(stage, runners, await stage.gateway(runners.all))


async def _object_info(stage: Stage, runners: Runners, gateway: Gateway) -> Row:
    asked = request("GET", "/object_info", **BROWSER)
    direct = await load(runners.port(0), [asked] * stage.some(20), stage.folder, 4)
    through = await load(gateway.port, [asked] * stage.some(1_500), stage.folder, 4)
    ratio = through.rate / direct.rate
    size = direct.bytes_per_second / direct.rate
    return Row(
        f"/object_info of {size / 1e6:.1f} MB, as browsers ask",
        f"{through.rate:,.0f}/s",
        f"direct {direct.rate:,.1f}/s",
        ratio,
        f"≥ {OBJECT_INFO_RATIO} ×",
        ratio >= OBJECT_INFO_RATIO,
        "merged, serialised and compressed once. The simulated runner keeps its definitions and writes them by orjson; "
        "a real one makes them anew, and Python's json alone takes ten times as long",
    )


async def _queue(stage: Stage, gateway: Gateway) -> Row:
    """The first answer compresses every job; whoever asks then gets what is there."""
    began = time.perf_counter()
    async with stage.http.get(f"{gateway.url}/queue") as response:
        assert response.headers["Content-Encoding"] == "deflate", "browsers are sent it compressed"
        await response.read()
    first = time.perf_counter() - began
    measured = await load(gateway.port, [request("GET", "/queue", **BROWSER)] * stage.some(50), stage.folder, 1)
    row = _row("/queue", measured, is_held=True)
    return replace(row, note=f"{row.note}, compressed; the first one took {first:.1f} s")


def _row(name: str, measured: Measured, *, is_held: bool) -> Row:
    p50, p99 = measured.quantile(0.5) * 1e3, measured.quantile(0.99) * 1e3
    size = measured.bytes_per_second / measured.rate
    return Row(
        f"GET {name} of {WAITING:,} + {ENDED:,} jobs",
        f"p50 {p50:.1f} ms, p99 {p99:.1f} ms",
        target=f"p99 ≤ {P99_MS:g} ms" if is_held else "",
        met=p99 <= P99_MS if is_held else None,
        note=f"{size / 1e3:,.0f} kB",
    )
