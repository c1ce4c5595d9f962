"""``GET /view`` of files of 400 kB and 4 MB: from the gateway's store and from the runner that wrote them; against the
runner itself, and against nginx with the same file and in front of the same runner."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
from graphs import small
from pool import Gateway, Runners, Stage, cpu_seconds, memory_mb, proxied, until
from report import Found, Row
from wire import Measured, load, request

SIZES = {"400 kB": (400_000, 1_500), "4 MB": (4_000_000, 200)}  # bytes, requests
CONNECTIONS = 4
FLAT_MB = 32  # that memory may grow by


async def measure(stage: Stage) -> Found:
    found = Found("view")
    runners = await stage.runners(1)
    gateway = await stage.gateway(runners.all, archive={"enabled": False})
    files = stage.sub("files")
    nginx = await stage.nginx(f"location /files/ {{ alias {files}/; }} {proxied(runners.port(0))}")
    for name, (size, most) in SIZES.items():
        count = stage.some(most)
        content = random.Random(size).randbytes(size)
        (files / f"{size}.png").write_bytes(content)
        await _upload(stage, gateway, f"{size}.png", content)
        written = await _written_by_job(stage, gateway, runners, content)
        stored = _view(filename=f"{size}.png", type="output")
        for kind, at_gateway, at_nginx in (
            ("stored", stored, request("GET", f"/files/{size}.png")),
            ("proxied", written, written),
        ):
            direct = await load(runners.port(0), [written] * count, stage.folder, CONNECTIONS)
            by_nginx = await load(nginx, [at_nginx] * count, stage.folder, CONNECTIONS) if nginx is not None else None
            memory, used = memory_mb(gateway.pid), cpu_seconds(gateway.pid)
            through = await load(gateway.port, [at_gateway] * count, stage.folder, CONNECTIONS)
            grown = memory_mb(gateway.pid) - memory
            used = (cpu_seconds(gateway.pid) - used) / count
            found.rows.append(_row(f"/view {name}, {kind}", through, direct, by_nginx, grown, used))
    return found


def _row(name: str, through: Measured, direct: Measured, nginx: Measured | None, grown_mb: float, used: float) -> Row:
    note = f"direct {_rate(direct)}; memory {grown_mb:+.0f} MB; {used * 1e3:.2f} ms of processor time each"
    if nginx is None:
        ratio = through.bytes_per_second / direct.bytes_per_second
        return Row(name, _rate(through), f"direct {_rate(direct)}", ratio, note=f"nginx is not installed; {note}")
    ratio = through.bytes_per_second / nginx.bytes_per_second
    is_met = ratio >= 1 and grown_mb <= FLAT_MB
    return Row(name, _rate(through), f"nginx {_rate(nginx)}", ratio, "≥ 1.0 × nginx, memory flat", is_met, note)


def _rate(measured: Measured) -> str:
    return f"{measured.bytes_per_second / 1e6:,.0f} MB/s"


def _view(**query: str) -> bytes:
    return request("GET", f"/view?{urlencode(query)}")


async def _upload(stage: Stage, gateway: Gateway, name: str, content: bytes) -> None:
    form = aiohttp.FormData({"type": "output", "overwrite": "true"})
    form.add_field("image", content, filename=name)
    async with stage.http.post(f"{gateway.url}/upload/image", data=form) as response:
        assert response.status == 200, await response.text()


async def _written_by_job(stage: Stage, gateway: Gateway, runners: Runners, content: bytes) -> bytes:
    """A request for the output of a new job, whose file is made to have this content where its runner wrote it."""
    async with stage.http.post(f"{gateway.url}/prompt", json={"prompt": small(len(content))}) as response:
        job = (await response.json())["prompt_id"]

    async def outputs() -> list[dict[str, str]]:
        async with stage.http.get(f"{gateway.url}/history/{job}") as response:
            entry = (await response.json()).get(job, {})
            return [image for node in entry.get("outputs", {}).values() for image in node["images"]]

    (image,) = await until(outputs, "the job has its output")
    (path,) = await asyncio.to_thread(_written, runners, image["filename"])
    path.write_bytes(content)
    return _view(**image)


def _written(runners: Runners, filename: str) -> list[Path]:
    return list(runners.child.log.parent.glob(f"base/**/output/{filename}"))
