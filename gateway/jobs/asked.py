"""What a prompt asks for, as the body of ``POST /prompt`` has it. Pure.

Most of what is said to the gateway itself, in ``extra_data.gateway``, is passed over where it makes no sense: a client
that was made for one ComfyUI may have something else under that name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gateway.comfyui import history
from gateway.jobs.hooks import HOOKS_MOST, Hook, HookRefused, hook_of

RETRIES_MOST = 100
PRIORITY_MOST = 100


def number(request: Mapping[str, Any]) -> float | None:
    """The place in the queue that the client has chosen, None where it leaves that to the pool.

    Raises ValueError, TypeError where it is none (ComfyUI's handler fails there, too).
    """
    if "number" not in request:
        return None
    try:
        given = float(request["number"])
    except OverflowError:
        given = math.inf
    if not math.isfinite(given):
        raise ValueError("number is not a place in an order")
    return given


def graph_of(prompt: object) -> dict[str, Any]:
    """The graph; an empty list is as good as an empty graph to ComfyUI. Raises TypeError: anything else fails there."""
    if isinstance(prompt, dict):
        return prompt
    if prompt == []:
        return {}
    raise TypeError("prompt is not an object")


def client_id(request: Mapping[str, Any], extra_data: Mapping[str, Any]) -> str | None:
    """Who is to hear of the job. Clients put it beside the prompt, or with its extra data."""
    given = request.get("client_id", extra_data.get("client_id"))
    return given if isinstance(given, str) else None


def kept(extra_data: Mapping[str, Any], client_id: str | None, now: int) -> dict[str, Any]:
    """What is kept of the extra data of a prompt that came at this time (ms): no secrets, no receivers of webhooks,
    whose URLs may be some, and no ``client_id`` where the job has it."""
    found = history.public_extra_data(extra_data)
    own = _own(extra_data)
    if "webhook" in own:
        found["gateway"] = {name: value for name, value in own.items() if name != "webhook"}
    if client_id is not None:
        found.pop("client_id", None)
    return {**found, "create_time": now}


def tags(extra_data: Mapping[str, Any]) -> tuple[str, ...]:
    """``extra_data.gateway.tags``, where it is a list of strings."""
    given = _own(extra_data).get("tags")
    return tuple(tag for tag in given if isinstance(tag, str)) if isinstance(given, list) else ()


def retries(extra_data: Mapping[str, Any]) -> int | None:
    """``extra_data.gateway.retries``, where it is a number that ``failover.retries`` could be."""
    given = _own(extra_data).get("retries")
    return given if type(given) is int and 0 <= given <= RETRIES_MOST else None


def priority(extra_data: Mapping[str, Any]) -> int:
    """``extra_data.gateway.priority``, where it is a whole number; higher goes first."""
    given = _own(extra_data).get("priority")
    return max(-PRIORITY_MOST, min(PRIORITY_MOST, given)) if type(given) is int else 0


def hooks(extra_data: object) -> list[Hook]:
    """``extra_data.gateway.webhook``: one, or a list of them, not yet checked whether they may be called. Raises
    HookRefused."""
    given = _own(extra_data).get("webhook")
    if given is None:
        return []
    found = [hook_of(each) for each in (given if isinstance(given, list) else [given])]
    if len(found) > HOOKS_MOST:
        raise HookRefused(f"has more than {HOOKS_MOST} receivers")
    return found


def _own(extra_data: object) -> Mapping[str, Any]:
    """``extra_data.gateway``, what is said to the gateway itself."""
    own = extra_data.get("gateway") if isinstance(extra_data, dict) else None
    return own if isinstance(own, dict) else {}
