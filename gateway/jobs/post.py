"""One POST of a prompt to a runner, a look at it there, and its interrupt. What follows from
the answer is the callers' to decide."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from gateway.comfyui import json_text
from gateway.jobs.job import Attempt
from gateway.runners.errors import RunnerAmbiguous, RunnerUnreachable
from gateway.runners.runner import REFUSALS, Runner

END_OF_QUEUE = float(2**53)  # the number of a prompt that must not begin before anything else that a runner holds
NOT_COMFYUI = frozenset(
    {408, 425, 429, 502, 503, 504}
)  # a proxy in front of the runner, or its rate limit: not delivered


@dataclass(frozen=True, slots=True)
class Accepted:
    """The runner has it. ``node_errors`` names the outputs that will not run (ComfyUI runs the valid ones)."""

    runner_prompt_id: str
    node_errors: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refused:
    """The runner's own refusal, to be told as it is."""

    status: int
    body: bytes
    content_type: str

    @property
    def words(self) -> str:
        """The refusal in one line, for logs and for a job that fails by it."""
        try:
            error = json_text.loads(self.body)["error"]
            return f"{error['message']}: {error['details']}" if error.get("details") else str(error["message"])
        except (ValueError, TypeError, KeyError):
            return f"status {self.status}"


def in_clients_words(refused: Refused, posted: Any, replaced: Mapping[tuple[str, str], Any]) -> Refused:
    """The refusal with the names of files as the client sent them.

    Args:
        refused: what the runner said.
        posted: the graph that it was given.
        replaced: the client's own values of the inputs that differ in it, by node and input.
    """
    body = refused.body
    for (node_id, name), own in replaced.items():
        staged = posted[node_id]["inputs"][name]
        if isinstance(own, str) and isinstance(staged, str):
            for is_ascii in (True, False):  # as Python's JSON writes it, or another's
                body = body.replace(_as_json(staged, is_ascii), _as_json(own, is_ascii))
    return replace(refused, body=body)


def _as_json(text: str, is_ascii: bool) -> bytes:
    return json.dumps(text, ensure_ascii=is_ascii)[1:-1].encode(errors="surrogatepass")


@dataclass(frozen=True, slots=True)
class Undelivered:
    """The runner certainly does not have it; with ``input_failed`` by no fault of that runner, but because an input
    file cannot be had."""

    reason: str
    input_failed: bool = False


@dataclass(frozen=True, slots=True)
class InDoubt:
    """It was sent, and no answer came: the runner has it or not."""

    reason: str


Outcome = Accepted | Refused | Undelivered | InDoubt


async def post(
    runner: Runner, attempt: Attempt, prompt: dict[str, Any], *, at_the_end: bool, timeout: float
) -> Outcome:
    """Posts a job to a runner (ComfyUI server.py post_prompt), with the link as its client.

    Args:
        runner: who is asked.
        attempt: names the id; ``attempt.job`` the rest.
        prompt: the graph, with the inputs of this runner.
        at_the_end: behind everything that the runner has queued.
        timeout: seconds for the answer.
    """
    job = attempt.job
    graph = job.content.prompt_json if prompt is job.prompt else json_text.dump_bytes(prompt)
    body: dict[str, Any] = {
        "client_id": runner.link.sid,
        "prompt_id": attempt.runner_prompt_id,
        "extra_data": {**{key: value for key, value in job.extra_data.items() if key != "gateway"}, **job.secrets},
    }
    if job.options.partial_execution_targets is not None:
        body["partial_execution_targets"] = job.options.partial_execution_targets
    if at_the_end:
        body["number"] = END_OF_QUEUE
    try:
        reply = await runner.client.request(
            "POST",
            "/prompt",
            data=b'{"prompt":%b,%b' % (graph, json_text.dump_bytes(body)[1:]),
            headers={"Content-Type": "application/json"},
            timeout=timeout,
        )
    except RunnerUnreachable as error:
        return Undelivered(error.reason)
    except RunnerAmbiguous as error:
        return InDoubt(error.reason)
    if reply.status in NOT_COMFYUI or reply.status in REFUSALS:
        return Undelivered(f"POST /prompt answered {reply.status}")
    if reply.status != 200:
        return Refused(reply.status, reply.body, reply.headers.get("Content-Type", "application/octet-stream"))
    try:
        answer = reply.json()
        return Accepted(str(answer["prompt_id"]), answer.get("node_errors") or {})
    except (ValueError, TypeError, KeyError):
        return InDoubt("POST /prompt answered 200, but not as ComfyUI does")


class Fate(StrEnum):
    """Where a job stands on a runner."""

    GONE = "gone"
    PENDING = "pending"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at a runner showed; ``entry`` is its history entry where it has finished. ``never_began``: it is gone
    and has certainly not run; a runner that has restarted shows no trace of what it ran before."""

    fate: Fate
    entry: dict[str, Any] | None = None
    never_began: bool = False


async def look(runner: Runner, runner_prompt_id: str) -> Found:
    """Looks where a job stands: in the queue first, then in the history, so that one that ends in between is seen.

    Raises RunnerError.
    """
    queue = await runner.client.get_json("/queue")
    if _has(queue.get("queue_running"), runner_prompt_id):
        return Found(Fate.RUNNING)
    if _has(queue.get("queue_pending"), runner_prompt_id):
        return Found(Fate.PENDING)
    entry = await history_entry(runner, runner_prompt_id)
    return Found(Fate.GONE) if entry is None else Found(Fate.FINISHED, entry)


async def history_entry(runner: Runner, runner_prompt_id: str) -> dict[str, Any] | None:
    """The runner's history of a job, None if it has none. Raises RunnerError."""
    entry = (await runner.client.get_json(f"/history/{runner_prompt_id}")).get(runner_prompt_id)
    return entry if isinstance(entry, dict) else None


async def interrupt(runner: Runner, runner_prompt_id: str) -> bool:
    """Interrupts a job if it runs, and no other one. Returns False where the runner says that it does not run.

    Raises RunnerError.
    """
    if not runner.has_jobs_api:
        await runner.client.request("POST", "/interrupt", json={"prompt_id": runner_prompt_id})
        return True
    reply = await runner.client.request("POST", f"/api/jobs/{runner_prompt_id}/cancel")
    if not reply.ok:
        raise RunnerAmbiguous(runner.name, f"POST /api/jobs/…/cancel answered {reply.status}")
    answer = reply.json()
    return isinstance(answer, dict) and bool(answer.get("cancelled"))


async def drop(runner: Runner, runner_prompt_id: str) -> None:
    """Tells a runner not to go on with a prompt, begun or not. Raises RunnerError."""
    await runner.client.request("POST", "/queue", json={"delete": [runner_prompt_id]})
    await runner.client.request("POST", "/interrupt", json={"prompt_id": runner_prompt_id})


def _has(items: Any, runner_prompt_id: str) -> bool:
    return any(item[1] == runner_prompt_id for item in items or () if isinstance(item, list) and len(item) > 1)
