"""Which path is answered by whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from aiohttp import hdrs, web

from gateway.access.addresses import PROXIES, Proxies
from gateway.access.callers import BROWSERS, Browsers
from gateway.access.gate import GATE
from gateway.access.hosts import AllowedHosts
from gateway.access.trail import TRAIL
from gateway.api import authentication, limiting, middleware, openapi_routes, own, webhooks
from gateway.api.allowed_hosts import ALLOWED_HOSTS, own_host_only
from gateway.api.cross_origin import Origins, same_site_only
from gateway.api.idempotency import KEYS, Keys
from gateway.api.native import (
    assets,
    catalogue,
    cloud,
    extensions,
    frontend,
    history,
    internal_files,
    jobs,
    logs,
    models,
    object_info,
    prompt,
    queue,
    rest,
    upload,
    userdata,
    users,
    view,
    websocket,
)
from gateway.api.pools import VIEWS, known_tags
from gateway.api.prefix import only_under_prefix
from gateway.api.services import SERVICES, Services
from gateway.api.v1 import faults, rate
from gateway.api.v1 import routes as v1
from gateway.runners.views import Views

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
    web.post("/upload/mask", upload.upload_mask),
    *users.ROUTES,
    *userdata.ROUTES,
    web.get("/object_info", object_info.get_object_info),
    web.get("/object_info/{node_class}", object_info.get_object_info_of),
    web.get("/system_stats", catalogue.get_system_stats),
    web.get("/features", catalogue.get_features),
    web.get("/node_replacements", catalogue.get_node_replacements),
    *models.ROUTES,
    *extensions.ROUTES,
    *assets.ROUTES,
    web.get("/api/jobs", jobs.get_jobs),
    web.get("/api/jobs/{job_id}", jobs.get_job),
    web.get("/api/jobs/cancel", jobs.get_job_cancel),
    web.post("/api/jobs/cancel", jobs.cancel_jobs),
    web.post("/api/jobs/{job_id}/cancel", jobs.cancel_job),
]

OWN = [endpoint.route() for endpoint in (*own.ENDPOINTS, *webhooks.ENDPOINTS, *openapi_routes.ENDPOINTS)]


def application(rooms: Services) -> web.Application:
    """The aiohttp application of one gateway."""
    app = web.Application(
        middlewares=[
            middleware.metered,
            faults.faults,
            *([own_host_only] if rooms.config.server.allowed_hosts else []),
            rate.limited,
            *([only_under_prefix] if rooms.config.server.prefix else []),
            same_site_only,
            middleware.faults,
            *([limiting.address_limited] if rooms.limits.counts_addresses else []),
            authentication.authenticated,
            limiting.caller_limited,
            known_tags,
        ],
        client_max_size=rooms.config.server.max_upload_size,
    )
    app[SERVICES] = rooms
    app[GATE], app[TRAIL] = rooms.access, rooms.access.trail
    app[BROWSERS] = Browsers()
    app[limiting.LIMITS] = rooms.limits
    app[KEYS] = Keys(rooms.db, rooms.clock)
    app[rate.RATE] = rate.Rate(rooms.config.v1, rooms.clock)
    app[PROXIES] = Proxies(rooms.config.server.trusted_proxies)
    app[ALLOWED_HOSTS] = AllowedHosts(rooms.config.server.allowed_hosts)
    app[object_info.OBJECT_INFO] = object_info.ObjectInfo()
    app[VIEWS] = Views(rooms.pool)
    app[models.MODEL_PLACES] = models.ModelPlaces()
    app[extensions.EXTENSIONS] = extensions.Listings()
    app[extensions.TEMPLATES] = extensions.Listings()
    Origins(rooms.config.browsers).attach(app)
    app.on_response_prepare.append(middleware.answer_headers)
    twice = [web.RouteDef(route.method, "/api" + route.path, route.handler, route.kwargs) for route in NATIVE]
    app.router.add_routes([*NATIVE, *twice, *logs.INTERNAL, *internal_files.INTERNAL])
    _refuse_other_methods(app, [*NATIVE, *twice], bare=rest.ALWAYS_ALLOWED)
    _refuse_other_methods(app, [*logs.INTERNAL, *internal_files.INTERNAL], bare=frozenset())
    app.router.add_routes([*userdata.NO_FILES, *extensions.FILES, *cloud.ROUTES, *OWN])
    v1.add_to(app)
    _add_frontend(app, rooms)
    app.router.add_route("*", "/{path:.*}", rest.rest)
    return app


def _refuse_other_methods(app: web.Application, routes: Sequence[web.RouteDef], *, bare: frozenset[str]) -> None:
    """405 for the methods that ComfyUI's routes lack: what the gateway answers itself is not passed through."""
    methods: defaultdict[str, set[str]] = defaultdict(set)
    for route in routes:
        methods[route.path] |= {route.method, hdrs.METH_HEAD} if route.method == hdrs.METH_GET else {route.method}
    for path, allowed in methods.items():
        app.router.add_route("*", path, rest.refuse_method(frozenset(allowed), bare))


def _add_frontend(app: web.Application, rooms: Services) -> None:
    if rooms.config.frontend.source == "runner":
        app.router.add_get("/", frontend.from_runner)
        return
    folder = frontend.folder_of(rooms.config.frontend)
    if folder is not None:
        app[frontend.FRONTEND] = folder
    app.router.add_get("/", frontend.index)
