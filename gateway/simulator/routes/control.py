"""Control of a simulated runner over HTTP, for runners in other processes. ComfyUI has none of these.

    GET  /simulator/state                  name, version, number of executions per prompt id, loads, models, faults …
    POST /simulator/faults {"delay": 1}    turns the switches named, see `faults.Faults`; {"clear": true} all off
    POST /simulator/pause {"after": 2}     holds the worker after so many units of work (default 0)
    POST /simulator/resume                 lets it go on
    POST /simulator/drop_websockets        cuts all websockets, or with {"sid": …} one
    POST /simulator/refuse {"seconds": 2}  no connections for so long; those that are open are cut
    POST /simulator/restart {"forget": true}
    POST /simulator/die                    ends the process, or in a test stops the runner until `restart`

The faults and the required header do not touch these routes.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from aiohttp import web

from gateway.simulator.http import json_of, json_response, state_of


class Actions(Protocol):
    """What a control route can do to the runner as a whole; `server.Simulator` is one."""

    def soon(self, action: Callable[[], Awaitable[None]]) -> None:
        """Do something once the answer is on its way."""

    async def die(self) -> None:
        """Stop at once, as a killed process."""

    async def refuse(self, seconds: float | None = None) -> None:
        """Take no connections, for so long or until `accept`."""

    async def restart(self, *, forget: bool = True) -> None:
        """Stop and start again on the same port."""


ACTIONS = web.AppKey("actions", Actions)


async def _body(request: web.Request) -> dict[str, Any]:
    body = await json_of(request) if request.can_read_body else {}
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="a JSON object is wanted")
    return body


async def get_state(request: web.Request) -> web.Response:
    """What a test in another process wants to know."""
    state = state_of(request)
    return json_response(
        {
            "name": state.options.name,
            "version": state.options.version,
            "executed": state.executions(),
            "queue_remaining": state.queue.remaining,
            "loads": state.gpu.loads,
            "models": state.gpu.loaded,
            "held": state.gpu.is_held,
            "wedged": state.wedged,
            "websockets": len(state.sockets),
            "faults": state.faults.as_dict(),
        }
    )


async def post_faults(request: web.Request) -> web.Response:
    """Turn switches."""
    faults = state_of(request).faults
    body = await _body(request)
    if body.pop("clear", False):
        faults.clear()
    try:
        faults.update(body)
    except (TypeError, ValueError) as error:
        raise web.HTTPBadRequest(text=str(error)) from error
    return json_response(faults.as_dict())


async def post_pause(request: web.Request) -> web.Response:
    """Hold the worker."""
    state_of(request).gpu.pause(int((await _body(request)).get("after", 0)))
    return web.Response()


async def post_resume(request: web.Request) -> web.Response:
    """Let the worker go on."""
    state_of(request).gpu.resume()
    return web.Response()


async def post_drop_websockets(request: web.Request) -> web.Response:
    """Cut websockets."""
    dropped = state_of(request).sockets.drop((await _body(request)).get("sid"))
    return json_response({"dropped": dropped})


async def post_refuse(request: web.Request) -> web.Response:
    """Take no connections for a while."""
    seconds = float((await _body(request)).get("seconds", 1.0))
    actions = request.app[ACTIONS]
    actions.soon(lambda: actions.refuse(seconds))
    return web.Response()


async def post_restart(request: web.Request) -> web.Response:
    """Stop and start again."""
    forget = bool((await _body(request)).get("forget", True))
    actions = request.app[ACTIONS]
    actions.soon(lambda: actions.restart(forget=forget))
    return web.Response()


async def post_die(request: web.Request) -> web.Response:
    """Stop at once."""
    actions = request.app[ACTIONS]
    actions.soon(actions.die)
    return web.Response()


ROUTES = (
    web.get("/simulator/state", get_state),
    web.post("/simulator/faults", post_faults),
    web.post("/simulator/pause", post_pause),
    web.post("/simulator/resume", post_resume),
    web.post("/simulator/drop_websockets", post_drop_websockets),
    web.post("/simulator/refuse", post_refuse),
    web.post("/simulator/restart", post_restart),
    web.post("/simulator/die", post_die),
)
