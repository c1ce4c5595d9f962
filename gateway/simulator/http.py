"""Small things that every family of routes needs: the state behind a request, JSON in and out."""

from aiohttp import web

from gateway.comfyui import json_text
from gateway.simulator.runner import RunnerState
from gateway.simulator.values import JSON

STATE = web.AppKey("state", RunnerState)


def state_of(request: web.Request) -> RunnerState:
    """The runner that a request came to."""
    state: RunnerState = request.config_dict[STATE]
    return state


async def json_of(request: web.Request) -> JSON:
    """The request's JSON, whatever its Content-Type.

    Raises:
        ValueError: it is none; ComfyUI's routes let that become a 500.
    """
    return json_text.loads(await request.read())


def json_response(data: JSON, status: int = 200) -> web.Response:
    """An answer with ComfyUI's JSON content type."""
    return web.Response(
        body=json_text.dumps(data).encode(), status=status, content_type="application/json", charset="utf-8"
    )
