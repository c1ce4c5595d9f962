"""What one runner shows when it is asked: who it is, how it answers, its clock, its websocket, and its queue twice."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from gateway.check import Probe, interview
from gateway.config import RunnerConfig
from gateway.doctor.findings import Finding, hint, problem
from gateway.runners.client import Reply, RunnerClient
from gateway.runners.errors import RunnerError

ANSWER_SECONDS = 60.0  # the first /object_info of a runner with many custom nodes takes long
CONNECT_SECONDS = 5.0
WEBSOCKET_SECONDS = 10.0
SLOW_SECONDS = 1.0  # for GET /prompt, which costs a runner nothing
SKEW_SECONDS = 5.0  # the Date header has whole seconds
STUCK_SECONDS = 3_600.0  # longer than jobs should take


@dataclass(frozen=True, slots=True)
class Look:
    """A runner's queue at one moment: prompt ids with the ``client_id`` and the time of submission (ms) of each."""

    running: dict[str, tuple[str | None, int | None]]
    pending: dict[str, tuple[str | None, int | None]]


@dataclass(frozen=True, slots=True)
class Examined:
    """Everything that one runner showed. ``websocket`` says why none stands; what could not be asked is None."""

    config: RunnerConfig
    probe: Probe
    object_info: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    skew_seconds: float | None = None
    websocket: str | None = None
    looks: tuple[Look, Look] | None = None


async def examine(config: RunnerConfig, *, watch_seconds: float) -> Examined:
    """Asks one runner; its queue is looked at twice, ``watch_seconds`` apart. Failures are results."""
    client = RunnerClient(config.name, config.endpoint, config.plain_headers(), connect_seconds=CONNECT_SECONDS)
    try:
        probe, object_info = await interview(config, client, timeout=ANSWER_SECONDS)
        if not probe.ok:
            return Examined(config, probe)
        began = time.monotonic()
        reply = await client.request("GET", "/prompt")
        seconds = time.monotonic() - began
        websocket = await _websocket(client)
        first = await _look(client)
        await asyncio.sleep(watch_seconds)
        looks = (first, await _look(client))
    except RunnerError as error:
        return Examined(config, Probe(config.name, config.endpoint, config.tags, "unreachable", error.reason))
    finally:
        await client.close()
    return Examined(config, probe, object_info, seconds, _skew(reply), websocket, looks)


async def _websocket(client: RunnerClient) -> str | None:
    """Why no websocket stands, None where one does and its first frame has come."""
    try:
        async with asyncio.timeout(WEBSOCKET_SECONDS):
            async with client.websocket(f"doctor-{uuid.uuid4().hex}") as socket:
                frame = await socket.receive()
    except TimeoutError:
        return f"nothing came over it within {WEBSOCKET_SECONDS:g} s"
    except (aiohttp.ClientError, OSError) as error:
        return str(error) or type(error).__name__
    return None if frame.type is aiohttp.WSMsgType.TEXT else "it was closed at once"


async def _look(client: RunnerClient) -> Look:
    queue = await client.get_json("/queue")
    return Look(_items(queue.get("queue_running")), _items(queue.get("queue_pending")))


def _items(items: Any) -> dict[str, tuple[str | None, int | None]]:
    found = {}
    for item in items or ():
        if isinstance(item, list) and len(item) > 3 and isinstance(item[1], str):
            extra = item[3] if isinstance(item[3], dict) else {}
            made = extra.get("create_time")
            found[item[1]] = (extra.get("client_id"), made if isinstance(made, int) else None)
    return found


def _skew(reply: Reply) -> float | None:
    try:
        told = parsedate_to_datetime(reply.headers["Date"])
    except (KeyError, ValueError):
        return None
    return (told - datetime.now(UTC)).total_seconds()


def findings_of(runner: Examined, own_sid: str | None) -> Iterator[Finding]:
    """What is wrong with this runner; ``own_sid`` is the gateway's ``clientId`` there, None where it is not known."""
    name = runner.config.name
    if not runner.probe.ok:
        yield _not_asked(runner)
        return
    if runner.seconds > SLOW_SECONDS:
        yield hint(
            f"answers GET /prompt after {runner.seconds:.1f} s",
            "every dispatch and every validation waits for it",
            "look at the network between them, and at what else runs on that machine",
            name,
        )
    if runner.skew_seconds is not None and abs(runner.skew_seconds) > SKEW_SECONDS:
        yield hint(
            f"its clock is {abs(runner.skew_seconds):.0f} s {'ahead' if runner.skew_seconds > 0 else 'behind'}",
            "times in the history of its jobs are told by that clock, and their order looks wrong",
            "set up time synchronisation (NTP) on both machines",
            name,
        )
    if runner.websocket is not None:
        yield problem(
            f"HTTP works, the websocket does not: {runner.websocket}",
            "without it the gateway hears of no progress and gives this runner no work",
            "let the proxy in front of it pass websocket upgrades of /ws and leave them open",
            name,
        )
    if runner.looks is not None:
        yield from _of_queue(name, *runner.looks, own_sid)


def _not_asked(runner: Examined) -> Finding:
    probe = runner.probe
    if probe.status in ("401", "403"):
        advice = "correct its headers in the configuration, or the secret that they are made of"
    elif probe.status == "unreachable":
        advice = "see that ComfyUI runs there, listens on that address (--listen), and that no firewall is between"
    else:
        advice = "see that its endpoint in the configuration is a ComfyUI's base URL, with its path prefix if any"
    what = f"{probe.status}: {probe.reason}"
    return problem(what, "it gets no jobs, and those on it move to others", advice, runner.config.name)


def _of_queue(name: str, first: Look, second: Look, own_sid: str | None) -> Iterator[Finding]:
    if first.pending and not first.running and first == second:
        yield problem(
            f"{len(second.pending)} prompts wait in its queue, none runs, and it does not move",
            "its worker thread is dead behind a healthy HTTP server: whatever it is given never ends",
            "restart that ComfyUI; its log tells what the worker died of",
            name,
        )
    for prompt_id in first.running.keys() & second.running.keys():
        made = second.running[prompt_id][1]
        age = 0.0 if made is None else time.time() - made / 1000
        if age > STUCK_SECONDS:
            yield hint(
                f"prompt {prompt_id}, submitted {age / 3600:.1f} h ago, still runs",
                "its worker may hang; the jobs behind it wait",
                "see in that ComfyUI's log whether it makes progress; interrupt it or restart ComfyUI if not",
                name,
            )
    clients = [client for client, _ in (*second.running.values(), *second.pending.values())]
    foreign = [client for client in clients if own_sid is None or client != own_sid]
    if foreign:
        yield hint(
            f"{len(foreign)} prompts in its queue are not this gateway's",
            "the gateway's jobs wait behind them, and it cannot order or move them",
            "let clients use the gateway's URL; a runner should have no other way in",
            name,
        )
