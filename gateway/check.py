"""Asks every configured runner who it is, once, for `comfy-gateway check`. Watching runners over time is the business
of `gateway.runners`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from gateway.config import RunnerConfig
from gateway.runners.client import RunnerClient
from gateway.runners.errors import RunnerError, RunnerMisanswered

PROBE_SECONDS = 5.0  # deadline of each question to a runner
GIBIBYTE = 1 << 30
Json = Any  # whatever a runner sent
QUESTIONS = ("/system_stats", "/prompt", "/object_info")


@dataclass(frozen=True, slots=True)
class Device:
    """One device of a runner, as ComfyUI server.py `/system_stats` tells it; memory in bytes."""

    name: str
    vram_total: int
    vram_free: int


@dataclass(frozen=True, slots=True)
class Probe:
    """What a runner answered. `status` is `ok`, `unreachable`, `not ComfyUI`, or an HTTP status such as `401`."""

    name: str
    endpoint: str
    tags: tuple[str, ...]
    status: str
    reason: str = ""
    comfyui_version: str | None = None
    devices: list[Device] = field(default_factory=list)
    queue_remaining: int | None = None
    node_classes: int | None = None

    @property
    def ok(self) -> bool:
        """Whether the runner answered every question as a ComfyUI does."""
        return self.status == "ok"


async def probe_all(runners: Sequence[RunnerConfig], *, timeout: float = PROBE_SECONDS) -> list[Probe]:
    """Probe the runners at once; the result is in their order. `timeout` is in seconds. Failures are results."""
    return list(await asyncio.gather(*(probe(runner, timeout=timeout) for runner in runners)))


async def probe(runner: RunnerConfig, *, timeout: float = PROBE_SECONDS) -> Probe:
    """Ask one runner all QUESTIONS, with its headers and without following redirects."""
    client = RunnerClient(runner.name, runner.endpoint, runner.plain_headers(), connect_seconds=timeout)
    try:
        answered, _ = await interview(runner, client, timeout=timeout)
    finally:
        await client.close()
    return answered


async def interview(runner: RunnerConfig, client: RunnerClient, *, timeout: float) -> tuple[Probe, dict[str, Json]]:
    """Ask all QUESTIONS over a client that the caller closes. Returns the /object_info too, empty where it failed."""
    answers = await asyncio.gather(
        *(client.get_json(path, timeout=timeout) for path in QUESTIONS), return_exceptions=True
    )
    for answer in answers:
        if isinstance(answer, RunnerError):
            return _failed(runner, answer), {}
        if isinstance(answer, BaseException):
            raise answer
    answered = _answered(runner, *answers)
    object_info = answers[QUESTIONS.index("/object_info")]
    return answered, object_info if answered.ok and isinstance(object_info, dict) else {}


def _failed(runner: RunnerConfig, error: RunnerError) -> Probe:
    status, reason = "unreachable", error.reason
    if isinstance(error, RunnerMisanswered):
        status = "not ComfyUI" if error.status == 200 else str(error.status)
        if error.status in (401, 403):
            reason += "; its headers in the configuration do not let the gateway in"
    return Probe(runner.name, runner.endpoint, runner.tags, status, reason)


def _answered(runner: RunnerConfig, stats: Json, prompt: Json, object_info: Json) -> Probe:
    try:
        return Probe(
            name=runner.name,
            endpoint=runner.endpoint,
            tags=runner.tags,
            status="ok",
            comfyui_version=str(stats["system"]["comfyui_version"]),
            devices=[
                Device(str(device["name"]), int(device["vram_total"]), int(device["vram_free"]))
                for device in stats["devices"]
            ],
            queue_remaining=int(prompt["exec_info"]["queue_remaining"]),
            node_classes=len(object_info),
        )
    except (LookupError, TypeError, ValueError):
        reason = "it answers, but not in ComfyUI's way"
        return Probe(runner.name, runner.endpoint, runner.tags, "not ComfyUI", reason)


def table_of(probes: Sequence[Probe]) -> Table:
    """The probes as a table for a terminal; why a runner fails is told by `reasons_of`."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for title in ("runner", "status"):
        table.add_column(title, no_wrap=True)
    for title in ("ComfyUI", "device, VRAM free / total", "queue", "nodes", "tags"):
        table.add_column(title, overflow="fold")
    for each in probes:
        table.add_row(
            escape(f"{each.name}\n{each.endpoint}"),
            Text(each.status, style="green" if each.ok else "red"),
            escape(each.comfyui_version or ""),
            escape("\n".join(f"{device.name}\n{_memory(device)}" for device in each.devices)),
            "" if each.queue_remaining is None else str(each.queue_remaining),
            "" if each.node_classes is None else str(each.node_classes),
            escape(", ".join(each.tags)),
        )
    return table


def reasons_of(probes: Sequence[Probe]) -> list[str]:
    """One line for each runner that fails."""
    return [f"{each.name}: {each.status}: {each.reason}" for each in probes if not each.ok]


def _memory(device: Device) -> str:
    return f"{device.vram_free / GIBIBYTE:.1f} / {device.vram_total / GIBIBYTE:.1f} GiB"
