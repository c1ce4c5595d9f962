"""A gateway over real ComfyUI servers, and what they and it tell of the same prompt."""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from gateway.api.services import Services
from gateway.app import gateway
from gateway.config import Config, DatabaseConfig, HealthConfig, RunnerConfig, ServerConfig
from gateway.jobs.states import JobState
from gateway.serving import listening
from support.client import Client
from support.graphs import save_graph

PATIENCE_SECONDS = 60.0
RUNNER_ONLY = ("id", "preview_id")  # of output items: ids of one server's own database
HEAD_BYTES = 4  # of a binary frame: which event it is


@dataclass(slots=True)
class RealPool:
    """A gateway over real servers; ``urls`` by runner name."""

    urls: dict[str, str]
    rooms: Services
    base: str

    async def until(self, holds: Any) -> None:
        """Waits for a condition of the gateway's own state."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not holds():
                await asyncio.sleep(0.01)

    async def until_running(self, *prompt_ids: str) -> None:
        """Waits until all of these run."""
        jobs = self.rooms.jobs
        await self.until(lambda: {job.id for job in jobs.live(None, JobState.RUNNING)} >= set(prompt_ids))

    async def until_idle(self) -> None:
        """Waits until the gateway has no job left."""
        await self.until(lambda: self.rooms.jobs.registry.remaining == 0)


@asynccontextmanager
async def gateway_over_servers(folder: Path, urls: Sequence[str], **sections: Any) -> AsyncIterator[RealPool]:
    """A gateway in this process over servers that somebody else runs. Whatever it still has on them is ended after."""
    named = {f"real-{number}": url for number, url in enumerate(urls)}
    settings = Config.model_validate(
        {
            "server": ServerConfig(port=0),
            "data_dir": folder,
            "database": DatabaseConfig(synchronous="normal"),
            "health": HealthConfig(interval_seconds=0.5, timeout_seconds=10),
            "runners": [RunnerConfig(name=name, endpoint=url) for name, url in named.items()],
            **sections,
        }
    )
    async with gateway(settings) as rooms, listening(settings, rooms) as port:
        pool = RealPool(named, rooms, f"http://127.0.0.1:{port}")
        await pool.until(lambda: len(rooms.pool.ready()) == len(named))
        try:
            yield pool
        finally:
            jobs = rooms.jobs
            for job in jobs.live(None, JobState.PENDING, JobState.DISPATCHED, JobState.RUNNING):
                await jobs.control.cancel(job)
            await pool.until_idle()


async def fetch(url: str) -> Any:
    """GETs JSON."""
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        assert response.status == 200, (url, response.status)
        return await response.json(content_type=None)


async def post(url: str, body: Any) -> tuple[int, Any]:
    """POSTs JSON to a server itself; returns the status and the parsed answer."""
    async with aiohttp.ClientSession() as http, http.post(url, json=body) as response:
        return response.status, await response.json(content_type=None)


async def has_probe(url: str) -> bool:
    """Whether the server has the node that takes time."""
    return "ProgressProbe" in await fetch(f"{url}/object_info/ProgressProbe")


def new_color() -> int:
    """A number that no earlier run has used, so that nothing is found in the servers' caches; it fits a colour."""
    return random.randrange(1 << 24)


def new_prefix() -> str:
    """A file name prefix that nobody else uses."""
    return f"gateway-test-{uuid.uuid4().hex[:8]}"


def picture_graph(color: int, prefix: str, *, probe: bool, **inputs: Any) -> dict[str, Any]:
    """EmptyImage -> ProgressProbe -> SaveImage, or with ImageInvert where the server has no such node."""
    graph = save_graph(color, prefix=prefix, **inputs)
    if not probe:
        graph["2"] = {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}}
    return graph


async def trace(base: str, graph: dict[str, Any], flags: dict[str, Any] | None) -> list[Any]:
    """What is told of one prompt, as [kind, data], with what differs between runs made equal: ids, times, names."""
    async with Client.connected(base, flags=flags) as client:
        if flags is not None:
            await client.hear_until("feature_flags")
        before = len(client.heard)
        prompt_id = await client.submit(graph)
        await client.hear_end(prompt_id)
        return [told for frame in client.heard[before:] if (told := _comparable(frame, prompt_id, graph)) is not None]


def _comparable(frame: dict[str, Any] | bytes, prompt_id: str, graph: dict[str, Any]) -> Any:
    if isinstance(frame, bytes):
        event = int.from_bytes(frame[:HEAD_BYTES])
        if event != 4:
            return ["frame", [event, len(frame) > 8]]
        size = int.from_bytes(frame[4:8])
        return ["frame", [event, _made_equal(json.loads(frame[8 : 8 + size]), prompt_id, graph)]]
    if frame["type"] in ("status", "feature_flags", "logs"):
        return None
    return [frame["type"], _made_equal(frame["data"], prompt_id, graph)]


def _made_equal(value: Any, prompt_id: str, graph: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {
            key: 0 if key == "timestamp" else _made_equal(each, prompt_id, graph)
            for key, each in value.items()
            if not (key in RUNNER_ONLY and "filename" in value)
        }
    if isinstance(value, list):
        return [_made_equal(each, prompt_id, graph) for each in value]
    if value == prompt_id:
        return "the prompt"
    if isinstance(value, str) and value.startswith("ComfyUI_temp_"):
        return "a temporary file"
    prefix = graph["3"]["inputs"].get("filename_prefix")
    return value.replace(prefix, "prefix") if prefix and isinstance(value, str) else value
