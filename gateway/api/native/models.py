"""The pool's models: ``/models``, ``/embeddings``, ``/experiment/models`` with previews, and ``/view_metadata``."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any
from urllib.parse import quote

from aiohttp import web

from gateway.api import answers
from gateway.api.asking import Asked, ask_all, primary_of
from gateway.api.pools import pool_of, scope_of
from gateway.api.relay import relay

FOLDERS = "/experiment/models"
PLACES_MOST = 200_000  # models whose runner is remembered

Place = tuple[str, str, str]  # folder, merged pathIndex, file name


class ModelPlaces:
    """Which runner, and which of its folders, a model of the merged listing came from."""

    def __init__(self) -> None:
        self._places: OrderedDict[Place, tuple[str, int]] = OrderedDict()

    def note(self, place: Place, runner: str, path_index: int) -> None:
        """A listing showed this model."""
        self._places[place] = (runner, path_index)
        self._places.move_to_end(place)
        while len(self._places) > PLACES_MOST:
            self._places.popitem(last=False)

    def find(self, place: Place) -> tuple[str, int] | None:
        """The runner's name and its own pathIndex."""
        return self._places.get(place)


MODEL_PLACES = web.AppKey("model_places", ModelPlaces)


async def get_union(request: web.Request) -> web.Response:
    """``/embeddings``, ``/models`` and ``/models/{folder}``: everything that any runner has, in the runners' order."""
    asked = await ask_all(request, request.rel_url.raw_path.removeprefix("/api"))
    if not asked.lists:
        return answers.empty(404)
    return answers.json(list(dict.fromkeys(item for _, names in asked.lists for item in names)))


async def get_model_folders(request: web.Request) -> web.Response:
    """The kinds of models by name, each with the folders of all runners (ComfyUI model_manager.py)."""
    return answers.json(list(_merged_folders(await ask_all(request, FOLDERS)).values()))


async def get_models_in(request: web.Request) -> web.Response:
    """The models of one kind by name, their ``pathIndex`` counting the merged folders (ComfyUI model_manager.py)."""
    found = await _models_in(request, request.match_info["folder"])
    return answers.empty(404) if found is None else answers.json(found)


async def get_preview(request: web.Request) -> web.StreamResponse:
    """A model's picture, from the runner whose listing showed the model; else what the primary says of it."""
    info = request.match_info
    folder, place = info["folder"], (_scoped(request, info["folder"]), info["path_index"], info["filename"])
    places = request.app[MODEL_PLACES]
    if places.find(place) is None:
        await _models_in(request, folder)
    found = places.find(place)
    runner = pool_of(request).get(found[0]) if found else None
    if found is None or runner is None or not runner.is_ready:
        return await relay(request, primary_of(request), request.rel_url.raw_path_qs)
    path = f"{FOLDERS}/preview/{quote(folder, safe='')}/{found[1]}/{quote(info['filename'])}"
    return await relay(request, runner, path)


async def view_metadata(request: web.Request) -> web.StreamResponse:
    """What a model file says about itself, from the first runner that has the file (ComfyUI server.py)."""
    asked = await ask_all(request, request.rel_url.raw_path_qs.removeprefix("/api"))
    if not asked.objects:
        return answers.empty(404)
    runner, metadata = asked.objects[0]
    return answers.json(metadata, headers=answers.concerning(runner.name, None))


async def _models_in(request: web.Request, folder: str) -> list[dict[str, Any]] | None:
    """The merged listing, its places noted; None where no runner has such a kind."""
    listed = (await ask_all(request, f"{FOLDERS}/{quote(folder, safe='')}")).lists
    if not listed:
        return None
    asked = await ask_all(request, FOLDERS)
    merged_paths = _paths(_merged_folders(asked).get(folder))
    own_paths = {
        runner.name: _paths(next((row for row in rows if _name(row) == folder), None)) for runner, rows in asked.lists
    }
    merged: dict[str, dict[str, Any]] = {}
    for runner, rows in listed:
        for row in rows:
            if not isinstance(row, dict) or not isinstance(row.get("name"), str) or row["name"] in merged:
                continue
            own = row.get("pathIndex")
            index = _merged_index(own, own_paths.get(runner.name, []), merged_paths)
            merged[row["name"]] = {**row, "pathIndex": index} if index != own else row
            if isinstance(own, int):
                request.app[MODEL_PLACES].note((_scoped(request, folder), str(index), row["name"]), runner.name, own)
    return list(merged.values())


def _scoped(request: web.Request, folder: str) -> str:
    """The folder as a part of the pool merges it."""
    return f"{scope_of(request)}/{folder}"


def _merged_index(own: Any, own_paths: list[Any], merged_paths: list[Any]) -> Any:
    """Where a runner's folder stands among all; its own index where the listing of folders does not know it."""
    if not isinstance(own, int) or not 0 <= own < len(own_paths) or own_paths[own] not in merged_paths:
        return own
    return merged_paths.index(own_paths[own])


def _merged_folders(asked: Asked) -> dict[str, dict[str, Any]]:
    merged: dict[str, dict[str, Any]] = {}
    for _, rows in asked.lists:
        for row in rows:
            name = _name(row)
            if name is None:
                continue
            known = merged.setdefault(name, row)
            if known is not row:
                merged[name] = {**row, **known, "folders": list(dict.fromkeys([*_paths(known), *_paths(row)]))}
    return merged


def _name(row: Any) -> str | None:
    name = row.get("name") if isinstance(row, dict) else None
    return name if isinstance(name, str) else None


def _paths(row: dict[str, Any] | None) -> list[Any]:
    folders = row.get("folders") if row is not None else None
    return folders if isinstance(folders, list) else []


ROUTES = [
    web.get("/embeddings", get_union),
    web.get("/models", get_union),
    web.get("/models/{folder}", get_union),
    web.get("/experiment/models", get_model_folders),
    web.get("/experiment/models/{folder}", get_models_in),
    web.get("/experiment/models/preview/{folder}/{path_index}/{filename:.*}", get_preview),
    web.get("/view_metadata/{folder_name}", view_metadata),
]
