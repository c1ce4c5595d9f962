"""What the pool is: ``/system_stats`` and ``/features``. Its node classes are in ``object_info``, its models in
``models``."""

from __future__ import annotations

from aiohttp import web

from gateway.api import answers
from gateway.api.asking import ask_all
from gateway.api.pools import pool_of
from gateway.comfyui import system_stats


async def get_system_stats(request: web.Request) -> web.Response:
    """The pool as one machine with many devices (ComfyUI server.py system_stats)."""
    asked = await ask_all(request, "/system_stats")
    stats = [
        (runner.name, answer if isinstance(answer, dict) else runner.facts.system_stats)
        for runner, answer in asked.answers
    ]
    return answers.json(system_stats.merge(stats))


async def get_features(request: web.Request) -> web.Response:
    """What the gateway advertises: what every runner can (ComfyUI server.py get_features)."""
    return answers.json(pool_of(request).features(request.client_max_size))


async def get_node_replacements(request: web.Request) -> web.Response:
    """``/node_replacements``: all that any runner knows, the first one's word for each; older ones know none."""
    merged: dict[str, object] = {}
    for _, replacements in (await ask_all(request, "/node_replacements")).objects:
        merged = {**replacements, **merged}
    return answers.json(merged)
