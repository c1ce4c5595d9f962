"""Which path is answered by whom."""

from __future__ import annotations

from aiohttp import web

from gateway.access.callers import BROWSERS, Browsers
from gateway.api import middleware, operations
from gateway.api.native import (
    catalogue,
    frontend,
    history,
    jobs,
    prompt,
    queue,
    rest,
    upload,
    view,
    websocket,
)
from gateway.api.services import SERVICES, Services

NATIVE = [  # served bare and under /api, as ComfyUI does with all of its own routes
    web.get("/ws", websocket.websocket),
    web.get("/prompt", prompt.get_prompt),
    web.post("/prompt", prompt.post_prompt),
    web.get("/queue", queue.get_queue),
    web.post("/queue", queue.post_queue),
    web.post("/interrupt", queue.post_interrupt),
    web.post("/free", queue.post_free),
    web.get("/history", history.get_history),
    web.get("/history/{prompt_id}", history.get_history_of),
    web.post("/history", history.post_history),
    web.get("/view", view.view),
    web.post("/upload/image", upload.upload_image),
    web.get("/object_info", catalogue.get_object_info),
    web.get("/object_info/{node_class}", catalogue.get_object_info_of),
    web.get("/system_stats", catalogue.get_system_stats),
    web.get("/features", catalogue.get_features),
    web.get("/embeddings", catalogue.get_union),
    web.get("/models", catalogue.get_union),
    web.get("/models/{folder}", catalogue.get_union),
    web.get("/api/jobs", jobs.get_jobs),
    web.get("/api/jobs/{job_id}", jobs.get_job),
    web.post("/api/jobs/cancel", jobs.cancel_jobs),
    web.post("/api/jobs/{job_id}/cancel", jobs.cancel_job),
]

OWN = [
    web.get("/gateway/health", operations.health),
    web.get("/gateway/ready", operations.ready),
]


def application(rooms: Services) -> web.Application:
    """The aiohttp application of one gateway."""
    app = web.Application(
        middlewares=[middleware.same_site_only, middleware.storage_faults],
        client_max_size=rooms.config.server.max_upload_size,
    )
    app[SERVICES] = rooms
    app[BROWSERS] = Browsers()
    app[catalogue.OBJECT_INFO] = catalogue.ObjectInfo()
    for route in NATIVE:
        app.router.add_routes([route, web.RouteDef(route.method, "/api" + route.path, route.handler, route.kwargs)])
    app.router.add_routes(OWN)
    _add_frontend(app, rooms)
    app.router.add_route("*", "/{path:.*}", rest.rest)
    return app


def _add_frontend(app: web.Application, rooms: Services) -> None:
    if rooms.config.frontend.source == "runner":
        app.router.add_get("/", frontend.from_runner)
        return
    folder = frontend.folder_of(rooms.config.frontend)
    if folder is not None:
        app[frontend.FRONTEND] = folder
    app.router.add_get("/", frontend.index)
