"""What custom nodes bring to the frontend: ``/extensions``, ``/i18n``, ``/workflow_templates``,
``/global_subgraphs``; and their files, each from a runner that listed it."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from aiohttp import web

from gateway.api import answers
from gateway.api.asking import Asked, ask_all, bound_to, primary_of
from gateway.api.native import frontend
from gateway.api.pools import pool_of, scope_of
from gateway.api.relay import relay
from gateway.runners.runner import Runner
from gateway.runners.views import VIEWS_MOST

CORE = "/extensions/core/"  # the frontend's own
LOOK_AGAIN_SECONDS = 5.0  # a name that no runner listed is not asked for more often


class Listed:
    """Which runners listed a file, or another one of its folder. Folders come in the runners' order."""

    def __init__(self) -> None:
        self._runners: dict[str, dict[str, None]] = {}
        self._looked_at = -LOOK_AGAIN_SECONDS

    def replace(self, listed: Iterable[tuple[str, str, Runner]]) -> None:
        """Takes over a complete listing: (folder, file without extension, runner)."""
        self._runners = {}
        for folder, file, runner in listed:
            self._runners.setdefault(f"{folder}/{file}", {})[runner.name] = None
            self._runners.setdefault(folder, {})[runner.name] = None
        self._looked_at = time.monotonic()

    def runners(self, folder: str, file: str) -> list[str]:
        """The names of those that have it, for certain or at least its folder."""
        stem = file.rpartition(".")[0] or file
        return list(self._runners.get(f"{folder}/{stem}", ())) or list(self._runners.get(folder, ()))

    @property
    def is_old(self) -> bool:
        """True when it is time to ask again for what is not in it."""
        return time.monotonic() - self._looked_at > LOOK_AGAIN_SECONDS


class Listings:
    """The newest listing of each part of the pool."""

    def __init__(self) -> None:
        self._listed: OrderedDict[str, Listed] = OrderedDict()

    def of(self, scope: str) -> Listed:
        """The listing of a part of the pool (`pools.scope_of`)."""
        listed = self._listed.setdefault(scope, Listed())
        self._listed.move_to_end(scope)
        while len(self._listed) > VIEWS_MOST:
            self._listed.popitem(last=False)
        return listed


EXTENSIONS = web.AppKey("extensions", Listings)
TEMPLATES = web.AppKey("templates", Listings)


async def get_extensions(request: web.Request) -> web.Response:
    """The scripts of all runners' extensions, each once, after those of the gateway's own frontend
    (ComfyUI server.py get_extensions)."""
    asked = await _list_extensions(request)
    folder = request.app.get(frontend.FRONTEND)
    own = await asyncio.to_thread(_core_scripts, folder) if folder is not None else []
    others = [
        script for _, scripts in asked.lists for script in scripts if folder is None or not str(script).startswith(CORE)
    ]
    return answers.json(list(dict.fromkeys([*own, *others])))


async def get_extension_file(request: web.Request) -> web.StreamResponse:
    """A file of an extension."""
    found = await frontend.static_file(request)
    if found is not None:
        return found
    listed = request.app[EXTENSIONS].of(scope_of(request))
    name, file = request.match_info["name"], request.match_info["file"]
    if not listed.runners(name, file) and listed.is_old:
        await _list_extensions(request)
    return await _from_one_of(request, listed.runners(name, file))


async def get_templates(request: web.Request) -> web.Response:
    """The workflow templates of all runners' custom nodes, by module (ComfyUI custom_node_manager.py)."""
    merged: dict[str, list[Any]] = {}
    for _, modules in (await _list_templates(request)).objects:
        for module, names in modules.items():
            if isinstance(names, list):
                known = merged.setdefault(module, [])
                known += [name for name in names if name not in known]
    return answers.json(merged)


async def get_template_file(request: web.Request) -> web.StreamResponse:
    """A template's workflow or picture."""
    listed = request.app[TEMPLATES].of(scope_of(request))
    module, file = request.match_info["module"], request.match_info["file"]
    if not listed.runners(module, file) and listed.is_old:
        await _list_templates(request)
    return await _from_one_of(request, listed.runners(module, file))


async def get_i18n(request: web.Request) -> web.Response:
    """The translations of all runners' custom nodes, the first one's word for each text."""
    merged: dict[str, Any] = {}
    for _, texts in (await ask_all(request, "/i18n")).objects:
        merged = _deep_merge(merged, texts)
    return answers.json(merged)


async def get_subgraphs(request: web.Request) -> web.Response:
    """The primary's subgraph blueprints, ``{}`` where it is too old for them. Ids hash a path of the runner's own, so
    that two runners' lists would name each blueprint twice."""
    reply = await primary_of(request).client.request("GET", "/global_subgraphs")
    return answers.json(reply.json() if reply.status == 200 else {})


async def get_subgraph(request: web.Request) -> web.Response:
    """One blueprint, from whichever runner knows the id: the list may be another primary's. ``null``: nobody does."""
    asked = await ask_all(request, f"/global_subgraphs/{quote(request.match_info['id'], safe='')}")
    if asked.objects:
        return answers.json(asked.objects[0][1])
    return answers.json(None if asked.answers else {})


async def _list_extensions(request: web.Request) -> Asked:
    asked = await ask_all(request, "/extensions")
    request.app[EXTENSIONS].of(scope_of(request)).replace(
        (parts[2], parts[3].rpartition(".")[0], runner)
        for runner, scripts in asked.lists
        for script in scripts
        if isinstance(script, str) and len(parts := unquote(script).split("/", 3)) == 4
    )
    return asked


async def _list_templates(request: web.Request) -> Asked:
    asked = await ask_all(request, "/workflow_templates")
    request.app[TEMPLATES].of(scope_of(request)).replace(
        (module, str(name), runner)
        for runner, modules in asked.objects
        for module, names in modules.items()
        if isinstance(names, list)
        for name in names
    )
    return asked


async def _from_one_of(request: web.Request, names: list[str]) -> web.StreamResponse:
    """From the first of them that is up, the same for everyone; else what the browser's runner says."""
    pool = pool_of(request)
    ready = [runner for name in names if (runner := pool.get(name)) is not None and runner.is_ready]
    return await relay(request, ready[0] if ready else bound_to(request), request.rel_url.raw_path_qs)


def _core_scripts(folder: Path) -> list[str]:
    scripts = sorted((folder / "extensions").rglob("*.js"))
    return [f"/{script.relative_to(folder).as_posix()}" for script in scripts]


def _deep_merge(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    merged = {**second, **first}
    for key in first.keys() & second.keys():
        if isinstance(first[key], dict) and isinstance(second[key], dict):
            merged[key] = _deep_merge(first[key], second[key])
    return merged


ROUTES = [
    web.get("/extensions", get_extensions),
    web.get("/workflow_templates", get_templates),
    web.get("/i18n", get_i18n),
    web.get("/global_subgraphs", get_subgraphs),
    web.get("/global_subgraphs/{id}", get_subgraph),
]
FILES = [  # not under both prefixes
    web.get("/extensions/{name}/{file:.+}", get_extension_file),
    web.get("/api/workflow_templates/{module}/{file:.+}", get_template_file),
]
