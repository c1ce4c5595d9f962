"""How far running jobs are, and how often that is told: the newest, at most once in a while, nothing after the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.clock import Clock
from gateway.comfyui.messages import Message
from gateway.jobs.job import Job

FINISHED: Final = "finished"
RUNNING: Final = "running"


@dataclass(slots=True)
class _Heard:
    told_at: float = float("-inf")
    newest: dict[str, Any] | None = None
    timer: asyncio.TimerHandle | None = None


def progress_of(message: Message, nodes: int) -> dict[str, Any] | None:
    """What a runner's message tells of a job of so many nodes: ``{"value", "nodes_done", "nodes", "node_id",
    "node_value", "node_max"}``, ``value`` from 0 to 1. None: nothing (ComfyUI comfy_execution/progress.py)."""
    if message.type != "progress_state":
        return None
    told = message.data.get("nodes")
    if not isinstance(told, Mapping):
        return None
    states = {str(node): state for node, state in told.items() if isinstance(state, Mapping)}
    done = sum(state.get("state") == FINISHED for state in states.values())
    running = next((item for item in states.items() if item[1].get("state") == RUNNING), None)
    node_id, at, most = (None, None, None) if running is None else (running[0], *_counted(running[1]))
    part = at / most if at is not None and most else 0.0
    nodes = max(nodes, len(states))
    return {
        "value": round(min((done + part) / nodes, 1.0), 4) if nodes else 0.0,
        "nodes_done": done,
        "nodes": nodes,
        "node_id": node_id,
        "node_value": at,
        "node_max": most,
    }


def _counted(state: Mapping[str, Any]) -> tuple[float | None, float | None]:
    at, most = state.get("value"), state.get("max")
    if not isinstance(at, int | float) or not isinstance(most, int | float) or most <= 0:
        return None, None
    return max(0.0, min(float(at), float(most))), float(most)


class Tracker:
    """Tells the progress of each job at most every ``seconds``; the newest is told late rather than never.

    Args:
        tell: called with the job and what ``progress_of`` gave.
    """

    def __init__(self, clock: Clock, seconds: float, tell: Callable[[Job, dict[str, Any]], None]) -> None:
        self._clock = clock
        self._seconds = seconds
        self._tell = tell
        self._jobs: dict[str, _Heard] = {}

    def heard(self, job: Job, message: Message) -> None:
        """A message of a job's runner."""
        found = progress_of(message, len(job.prompt)) if message.type == "progress_state" else None
        if found is None:
            return
        heard = self._jobs.setdefault(job.id, _Heard())
        heard.newest = found
        if heard.timer is None:
            wait = heard.told_at + self._seconds - self._clock.monotonic()
            if wait <= 0:
                self._tell_now(job, heard)
            else:
                heard.timer = asyncio.get_running_loop().call_later(wait, self._due, job)

    def forget(self, job_id: str) -> None:
        """The job has ended, or begins anew: what was not told of it is not told any more."""
        heard = self._jobs.pop(job_id, None)
        if heard is not None and heard.timer is not None:
            heard.timer.cancel()

    def close(self) -> None:
        """Tells nothing any more."""
        for job_id in list(self._jobs):
            self.forget(job_id)

    def _due(self, job: Job) -> None:
        heard = self._jobs.get(job.id)
        if heard is not None:
            heard.timer = None
            self._tell_now(job, heard)

    def _tell_now(self, job: Job, heard: _Heard) -> None:
        newest, heard.newest = heard.newest, None
        heard.told_at = self._clock.monotonic()
        if newest is not None:
            self._tell(job, newest)
