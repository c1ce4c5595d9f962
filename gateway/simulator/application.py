"""All routes of a runner put together as ComfyUI puts them: bare and under /api, static files last."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from aiohttp import web

from gateway.simulator.http import STATE, state_of
from gateway.simulator.middleware import MIDDLEWARES
from gateway.simulator.routes import control, files, jobs, prompts, system, users, websocket
from gateway.simulator.runner import RunnerState

FRONTEND_PACKAGE = "comfyui_frontend_package"

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>ComfyUI</title></head>
<body><p>A simulated ComfyUI. Install comfyui-frontend-package to see the frontend here.</p></body></html>
"""


def build_application(state: RunnerState, actions: control.Actions) -> web.Application:
    """The application for one life of a runner."""
    app = web.Application(client_max_size=state.options.max_upload_size, middlewares=MIDDLEWARES)
    app[STATE] = state
    app[control.ACTIONS] = actions
    app.add_routes(control.ROUTES)
    if state.personality.jobs_api:
        app.add_routes(jobs.ASSET_ROUTES)
    internal = web.Application()
    internal.add_routes(system.INTERNAL_ROUTES)
    app.add_subapp("/internal", internal)
    routes = list(_routes(state))
    app.add_routes([web.route(route.method, f"/api{route.path}", route.handler) for route in routes])
    app.add_routes(routes)
    app.add_routes([web.static("/", state.web_root)])
    return app


def _routes(state: RunnerState) -> Iterator[web.RouteDef]:
    yield from state.options.extra_routes
    yield web.get("/", root)
    for family in (websocket, prompts, files, system, users):
        yield from family.ROUTES
    if state.personality.jobs_api:
        yield from jobs.ROUTES


async def root(request: web.Request) -> web.FileResponse:
    """The frontend's page."""
    state = state_of(request)
    headers = {"Cache-Control": state.personality.root_cache_control, "Pragma": "no-cache", "Expires": "0"}
    return web.FileResponse(state.web_root / "index.html", headers=headers)


def find_web_root(given: Path | None, base: Path) -> Path:
    """The folder of the frontend: the one given, the installed package's, or a new one with a tiny page."""
    if given is not None:
        return given
    package = importlib.util.find_spec(FRONTEND_PACKAGE)
    if package is not None and package.origin is not None:
        static = Path(package.origin).parent / "static"
        if (static / "index.html").is_file():
            return static
    page = base / "web" / "index.html"
    page.parent.mkdir(exist_ok=True)
    page.write_text(_PAGE)
    return page.parent
