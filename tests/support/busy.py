"""Pools in which every slot is taken, and questions that many tests ask of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.simulator import Simulator
from support.client import Client
from support.graphs import save_graph
from support.pools import RunningPool

INVALID = {"1": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}}}
"""A graph that every ComfyUI refuses: its images are missing."""

QUICK = {"health": {"interval_seconds": 0.05, "timeout_seconds": 2, "grace_seconds": 0.2, "connect_seconds": 1}}
"""A configuration that gives runners up soon."""


async def fill(pool: RunningPool, client: Client, *, seed: int = 1000) -> list[str]:
    """Pauses every runner and fills every slot of the pool; returns the ids of the jobs, held in their first node."""
    slots = sum(runner.capacity for runner in pool.rooms.pool)
    for simulator in pool.simulators:
        simulator.pause()
    ids = [await client.submit(save_graph(seed + number, prefix="busy")) for number in range(slots)]
    for simulator in pool.simulators:
        await simulator.held()
    await pool.until(lambda: all(holds(each) == 1 + pool.config.runners[0].prefetch for each in pool.simulators))
    return ids


def resume(pool: RunningPool) -> None:
    """Lets every runner go on."""
    for simulator in pool.simulators:
        simulator.resume()


def holds(simulator: Simulator) -> int:
    """How many prompts a runner has in its queue, the running one included."""
    return simulator.state.queue.remaining


def running_on(simulator: Simulator) -> list[str]:
    """The runner's own ids of what it runs."""
    return [item[1] for item in simulator.state.queue.running.values()]


async def queue_of(client: Client) -> tuple[list[str], list[str]]:
    """The ids in the gateway's queue: running, pending."""
    queue: dict[str, Any] = await client.get("/queue")
    return [item[1] for item in queue["queue_running"]], [item[1] for item in queue["queue_pending"]]


async def hear_ends(client: Client, prompt_ids: Iterable[str]) -> None:
    """Reads until each of these has been told to be done, in whatever order, what was heard before included."""
    waited_for = set(prompt_ids)
    for frame in client.heard:
        waited_for.discard(_ended(frame))
    while waited_for:
        waited_for.discard(_ended(await client.hear()))


async def ended_once(client: Client, prompt_id: str, kind: str = "execution_success") -> dict[str, Any]:
    """Waits for a job's end; fails unless it was told once, in this way. Returns the history entry."""
    await hear_ends(client, [prompt_id])
    told = client.told(prompt_id)
    assert told[-2:] == [kind, "executing"], told
    assert told.count(kind) == 1
    entry = await client.history(prompt_id)
    assert entry["prompt"][1] == prompt_id
    return entry


def _ended(frame: dict[str, Any] | bytes) -> str:
    if isinstance(frame, dict) and frame["type"] == "executing" and frame["data"]["node"] is None:
        return str(frame["data"]["prompt_id"])
    return ""
