"""The stock frontend: from the installed ``comfyui-frontend-package``, from a runner, or not at all."""

from __future__ import annotations

import importlib.resources
import importlib.util
from pathlib import Path

from aiohttp import hdrs, web

from gateway.access.callers import Browsers
from gateway.api import answers
from gateway.api.asking import bound_to
from gateway.api.relay import relay
from gateway.api.services import services
from gateway.config import FrontendConfig

PACKAGE = "comfyui_frontend_package"
FOLDERS = frozenset({"assets", "scripts", "fonts", "lib", "cursor", "templates", "docs"})  # static, one version each
FRONTEND = web.AppKey("frontend", Path)
NEVER_KEPT = {"Cache-Control": "no-store, must-revalidate", "Pragma": "no-cache", "Expires": "0"}


def folder_of(config: FrontendConfig) -> Path | None:
    """The folder of the frontend's files; None where it is not to be served from here, or is not there."""
    folder = (config.root or _packaged()) if config.source == "package" else None
    return folder if folder is not None and (folder / "index.html").is_file() else None


def _packaged() -> Path | None:
    if importlib.util.find_spec(PACKAGE) is None:
        return None
    return Path(str(importlib.resources.files(PACKAGE) / "static"))


async def index(request: web.Request) -> web.StreamResponse:
    """``GET /``: the frontend's page, never cached; it gives the browser its cookie."""
    answer = await _page(request)
    Browsers.greet(request, answer)
    return answer


async def _page(request: web.Request) -> web.StreamResponse:
    folder = request.app.get(FRONTEND)
    if folder is not None:
        return web.FileResponse(folder / "index.html", headers=NEVER_KEPT)
    rooms = services(request)
    if rooms.config.frontend.source == "none":
        return answers.json({"gateway": "/gateway/health"})
    root = rooms.config.frontend.root
    fault = f"no index.html in {root}" if root is not None else "comfyui-frontend-package is not installed"
    hint = "install comfy-gateway[frontend], or set `frontend: {source: runner}`"
    return web.Response(status=503, text=f"no frontend, {fault}: {hint}\n")


async def static_file(request: web.Request) -> web.StreamResponse | None:
    """A file of the frontend, None where there is no such file."""
    folder = request.app.get(FRONTEND)
    if folder is None or request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
        return None
    try:
        path = (folder / request.path.lstrip("/")).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            return None
    except (OSError, ValueError):  # a name that no file system takes: too long, NUL
        return None
    return web.FileResponse(path)


def is_frontends_own(request: web.Request) -> bool:
    """True for files of a frontend: its chunks have to come from the runner that its page came from."""
    first, _, more = request.path.lstrip("/").partition("/")
    return request.method in (hdrs.METH_GET, hdrs.METH_HEAD) and (first in FOLDERS if more else "." in first)


async def from_runner(request: web.Request) -> web.StreamResponse:
    """``GET /``: the page of the frontend that the browser's runner has."""
    greeting = Browsers.greeting(request)
    return await relay(request, bound_to(request), request.rel_url.raw_path_qs, answer_headers=greeting)
