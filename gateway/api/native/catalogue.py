"""What the pool can run and what it is: ``/object_info``, ``/models``, ``/embeddings``, ``/system_stats`` and
``/features``."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from aiohttp import web

from gateway.access.callers import caller_of
from gateway.api import answers
from gateway.api.services import Services, services
from gateway.comfyui import json_text, object_info, system_stats
from gateway.runners.errors import RunnerError, RunnerMisanswered
from gateway.runners.runner import Runner

log = structlog.get_logger(__name__)


class ObjectInfo:
    """The pool's /object_info with the caller's own uploads in the upload lists, kept until either changes."""

    def __init__(self) -> None:
        self._made_for: Any = None
        self._info: dict[str, Any] = {}
        self._text = b"{}"

    def of(self, rooms: Services, owner: str) -> dict[str, Any]:
        """The merged definitions."""
        self._make(rooms, owner)
        return self._info

    def text(self, rooms: Services, owner: str) -> bytes:
        """The same as JSON."""
        self._make(rooms, owner)
        return self._text

    def _make(self, rooms: Services, owner: str) -> None:
        files = rooms.uploads.names("input", owner)
        wanted = (rooms.pool.version, owner, tuple(files))
        if wanted == self._made_for:
            return
        self._info = object_info.with_upload_options(rooms.pool.object_info(), files)
        self._text = json_text.dumps(self._info).encode()
        self._made_for = wanted


OBJECT_INFO = web.AppKey("object_info", ObjectInfo)


async def get_object_info(request: web.Request) -> web.Response:
    """All node classes of the pool in one snapshot (ComfyUI server.py get_object_info)."""
    text = request.app[OBJECT_INFO].text(services(request), caller_of(request).owner)
    return answers.json_bytes(text)


async def get_object_info_of(request: web.Request) -> web.Response:
    """One node class, ``{}`` where no runner has it (ComfyUI server.py get_object_info_node)."""
    name = request.match_info["node_class"]
    info = request.app[OBJECT_INFO].of(services(request), caller_of(request).owner)
    return answers.json({name: info[name]} if name in info else {})


async def get_system_stats(request: web.Request) -> web.Response:
    """The pool as one machine with many devices (ComfyUI server.py system_stats)."""
    runners = services(request).pool.ready()
    found = await asyncio.gather(*(_ask(runner, "/system_stats") for runner in runners))
    stats = [
        (runner.name, answer if isinstance(answer, dict) else runner.facts.system_stats)
        for runner, answer in zip(runners, found, strict=True)
    ]
    return answers.json(system_stats.merge(stats))


async def get_features(request: web.Request) -> web.Response:
    """What the gateway advertises: what every runner can (ComfyUI server.py get_features)."""
    rooms = services(request)
    return answers.json(rooms.pool.features(rooms.config.server.max_upload_size))


async def get_union(request: web.Request) -> web.Response:
    """``/embeddings``, ``/models`` and ``/models/{folder}``: everything that any runner has, in the runners' order."""
    path = request.rel_url.raw_path.removeprefix("/api")
    runners = services(request).pool.ready()
    found = await asyncio.gather(*(_ask(runner, path) for runner in runners))
    lists = [answer for answer in found if isinstance(answer, list)]
    if not lists:
        return answers.empty(404)
    return answers.json(list(dict.fromkeys(item for answer in lists for item in answer)))


async def _ask(runner: Runner, path: str) -> Any:
    """A runner's answer, None where it has none: the others' are shown without it."""
    try:
        return await runner.client.get_json(path)
    except RunnerMisanswered:
        return None
    except RunnerError as error:
        log.warning("runner.not_asked", runner=runner.name, path=path, reason=error.reason)
        runner.suspect(error.reason)
        return None
