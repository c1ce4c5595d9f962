"""The server about itself: node classes, models, features, logs, extensions (ComfyUI server.py, model_manager.py)."""

import os
from pathlib import Path
from typing import Any

from aiohttp import web

from gateway.simulator.folders import FILE_TYPES
from gateway.simulator.http import json_of, json_response, state_of
from gateway.simulator.personality import ModelFolder
from gateway.simulator.runner import RunnerState

HIDDEN_MODEL_FOLDERS = ("configs", "custom_nodes")
MEMORY = 24 * 2**30  # bytes, of every simulated device
PYTHON_VERSION = "3.11.7 (main, May  9 2026, 07:35:25) [GCC 12.2.0]"
PYTORCH_VERSION = "2.13.0+cpu"


async def object_info(request: web.Request) -> web.Response:
    """All node classes."""
    catalogue = state_of(request).catalogue
    return json_response({name: catalogue.info(name) for name in catalogue})


async def object_info_of(request: web.Request) -> web.Response:
    """One node class, or nothing."""
    catalogue = state_of(request).catalogue
    name = request.match_info["node_class"]
    return json_response({name: catalogue.info(name)} if name in catalogue else {})


async def system_stats(request: web.Request) -> web.Response:
    """Versions and devices."""
    state = state_of(request)
    options = state.options
    system: dict[str, Any] = {
        **state.personality.system,
        "ram_total": MEMORY,
        "ram_free": MEMORY // 2,
        "python_version": PYTHON_VERSION,
        "pytorch_version": PYTORCH_VERSION,
        "embedded_python": False,
        "argv": _argv(state),
    }
    free = MEMORY - MEMORY // 2 * bool(state.gpu.loaded)
    device = {
        "name": options.name,
        "type": "cpu",
        "index": None,
        "vram_total": MEMORY,
        "vram_free": free,
        "torch_vram_total": MEMORY,
        "torch_vram_free": free,
    }
    return json_response({"system": system, "devices": [device]})


def _argv(state: RunnerState) -> list[str]:
    base = state.folders.base
    argv = ["main.py", "--cpu", "--port", str(state.port), "--base-directory", str(base)]
    if state.options.disable_api_nodes:
        argv.append("--disable-api-nodes")
    return [*argv, "--database-url", f"sqlite:///{base}/user/comfyui.db"]


async def features(request: web.Request) -> web.Response:
    """What the server can do."""
    return json_response(state_of(request).feature_flags)


async def embeddings(request: web.Request) -> web.Response:
    """Names of embeddings without their endings."""
    return json_response([Path(name).stem for name in _model_files(state_of(request), "embeddings")])


async def model_types(request: web.Request) -> web.Response:
    """The kinds of models."""
    return json_response(state_of(request).personality.folder_names)


async def models(request: web.Request) -> web.Response:
    """The files of one kind."""
    state = state_of(request)
    name = request.match_info["folder"]
    if state.personality.folder(name) is None:
        return web.Response(status=404)
    return json_response(_model_files(state, name))


def _model_files(state: RunnerState, folder: str) -> list[str]:
    return list(state.options.model_files.get(folder, ()))


async def model_folders(request: web.Request) -> web.Response:
    """The kinds of models with their folders."""
    state = state_of(request)
    listing = []
    for folder in state.personality.model_folders:
        if folder.name in HIDDEN_MODEL_FOLDERS:
            continue
        row: dict[str, Any] = {"name": folder.name, "folders": _paths(state, folder)}
        if state.personality.modern:
            row["extensions"] = sorted(folder.extensions)
        listing.append(row)
    return json_response(listing)


async def models_in_folder(request: web.Request) -> web.Response:
    """The files of one kind with facts that simulated files have none of."""
    state = state_of(request)
    name = request.match_info["folder"]
    if state.personality.folder(name) is None:
        return web.Response(status=404)
    files = _model_files(state, name)
    return json_response([{"name": file, "pathIndex": 0, "modified": 0, "created": 0, "size": 0} for file in files])


async def no_model_preview(_: web.Request) -> web.Response:
    """No simulated model has a preview."""
    return web.Response(status=404)


def _paths(state: RunnerState, folder: ModelFolder) -> list[str]:
    return [str(state.folders.base / path) for path in folder.folders]


async def extensions(request: web.Request) -> web.Response:
    """The scripts of the frontend's extensions."""
    root = state_of(request).web_root
    scripts = sorted((root / "extensions").rglob("*.js"))
    return json_response([f"/{script.relative_to(root).as_posix()}" for script in scripts])


async def empty_object(_: web.Request) -> web.Response:
    """Nothing to tell: no custom node brings translations or templates."""
    return json_response({})


async def no_templates(_: web.Request) -> web.Response:
    """The list of a templates package that has none, which the frontend asks for."""
    return json_response([])


async def logs(request: web.Request) -> web.Response:
    """The log as one string."""
    return json_response(state_of(request).logs.text())


async def raw_logs(request: web.Request) -> web.Response:
    """The log's entries."""
    return json_response(state_of(request).logs.raw())


async def subscribe_logs(request: web.Request) -> web.Response:
    """Send new entries to a client's websocket, or no longer."""
    body = await json_of(request)
    client_id = body["clientId"]
    state_of(request).logs.subscribe(client_id, enabled=body["enabled"])
    return web.Response()


async def folder_paths(request: web.Request) -> web.Response:
    """The folders of every kind of model."""
    state = state_of(request)
    return json_response({folder.name: _paths(state, folder) for folder in state.personality.model_folders})


async def list_files(request: web.Request) -> web.Response:
    """The files at the top of input, output or temp, newest first."""
    state = state_of(request)
    file_type = request.match_info["directory_type"]
    if file_type not in FILE_TYPES:
        return json_response({"error": "Invalid directory type"}, status=400)
    annotated = state.personality.annotated_listing
    entries = [
        entry
        for entry in os.scandir(state.folders.base / file_type)
        if entry.is_file() and not (annotated and entry.name.startswith("."))
    ]
    entries.sort(key=lambda entry: -entry.stat().st_mtime_ns)
    return json_response([f"{entry.name} [{file_type}]" if annotated else entry.name for entry in entries])


ROUTES = (
    web.get("/object_info", object_info),
    web.get("/object_info/{node_class}", object_info_of),
    web.get("/system_stats", system_stats),
    web.get("/features", features),
    web.get("/embeddings", embeddings),
    web.get("/models", model_types),
    web.get("/models/{folder}", models),
    web.get("/experiment/models", model_folders),
    web.get("/experiment/models/{folder}", models_in_folder),
    web.get("/experiment/models/preview/{folder}/{path_index}/{filename:.*}", no_model_preview),
    web.get("/extensions", extensions),
    web.get("/i18n", empty_object),
    web.get("/workflow_templates", empty_object),
    web.get("/templates/index.json", no_templates),
)

INTERNAL_ROUTES = (
    web.get("/logs", logs),
    web.get("/logs/raw", raw_logs),
    web.patch("/logs/subscribe", subscribe_logs),
    web.get("/folder_paths", folder_paths),
    web.get("/files/{directory_type}", list_files),
)
"""Under /internal only."""
