"""``/api/assets`` and ``/api/tags``: off, as on a server that was started without them."""

from __future__ import annotations

from aiohttp import web

from gateway.api import answers

SERVICE_DISABLED = {
    "error": {
        "code": "SERVICE_DISABLED",
        "message": "Assets system is disabled. Start the server with --enable-assets to use this feature.",
        "details": {},
    }
}


async def disabled(_request: web.Request) -> web.Response:
    """503 with ComfyUI's own words (0.33.0): a runner's assets are not the pool's, and their ids are not either."""
    return answers.json(SERVICE_DISABLED, status=503)


ROUTES = [
    web.get("/api/assets", disabled),
    web.post("/api/assets", disabled),
    web.get("/api/assets/{rest:.+}", disabled),
    web.post("/api/assets/{rest:.+}", disabled),
    web.put("/api/assets/{rest:.+}", disabled),
    web.delete("/api/assets/{rest:.+}", disabled),
    web.get("/api/tags", disabled),
]
