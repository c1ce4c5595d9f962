"""The routes of ``/v1``. What it does not have is answered in its form of errors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from aiohttp import hdrs, web

from gateway.api.openapi import Endpoint, Handler
from gateway.api.v1 import runner, template, user, workflow, workflow_outputs
from gateway.api.v1.errors import PREFIX, ErrorAnswer, not_found, told

ENDPOINTS: list[Endpoint] = [  # in the order of the document
    *user.ENDPOINTS,
    *runner.ENDPOINTS,
    *workflow.ENDPOINTS,
    *workflow_outputs.ENDPOINTS,
    *template.ENDPOINTS,
]


def add_to(app: web.Application) -> None:
    """Adds the routes, 405 for their other methods, and 404 for every other path under ``/v1``."""
    app.router.add_routes([endpoint.route() for endpoint in ENDPOINTS])
    for path, methods in _methods(ENDPOINTS).items():
        app.router.add_route("*", path, _refuse_method(", ".join(sorted(methods))))
    app.router.add_route("*", PREFIX, _unknown)
    app.router.add_route("*", PREFIX + "/{path:.*}", _unknown)


def _methods(endpoints: Iterable[Endpoint]) -> dict[str, set[str]]:
    methods: defaultdict[str, set[str]] = defaultdict(set)
    for endpoint in endpoints:
        methods[endpoint.path].add(endpoint.method)
        if endpoint.method == hdrs.METH_GET:
            methods[endpoint.path].add(hdrs.METH_HEAD)
    return methods


def _refuse_method(allowed: str) -> Handler:
    """405, with the methods that there are."""

    async def refuse(request: web.Request) -> web.StreamResponse:
        return ErrorAnswer(405, f"{request.method} is not allowed here", {hdrs.ALLOW: allowed})

    return refuse


async def _unknown(_request: web.Request) -> web.StreamResponse:
    return told(not_found())
