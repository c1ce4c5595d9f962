"""Simulated runners that can send their running job's messages faster than any job does: POST /bench/flood. So that
no client is too slow, there are never more than `WINDOW` on their way: clients tell by POST /bench/heard.

python -m bench.flooding PORT…
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from aiohttp import web

from gateway.comfyui import frames
from gateway.simulator.command import run_all
from gateway.simulator.http import state_of
from gateway.simulator.options import SimulatorOptions

TOGETHER = 10  # paced messages between two pauses
WINDOW = 600  # messages, or as many previews as make up WINDOW_BYTES
WINDOW_BYTES = 2_000_000
HEARD = asyncio.Event()
heard = 0  # messages by the client


async def hear(request: web.Request) -> web.Response:
    """The client has had so many messages."""
    global heard
    heard = int(await request.text())
    HEARD.set()
    return web.Response()


async def flood(request: web.Request) -> web.Response:
    """Sends ``count`` messages of the running job to its client: previews of ``size`` bytes, or texts that say when
    they were sent; at most ``rate`` a second where there is one."""
    global heard
    wish, state, heard = await request.json(), state_of(request), 0
    (prompt_id,) = [item[1] for item in state.queue.running.values()]
    (socket,) = state.sockets._targets(str(state.executor.client_id))
    picture = frames.preview_frame(bytes(wish["size"]), "image/jpeg")
    window = min(WINDOW, WINDOW_BYTES // max(wish["size"], 1))
    began = time.perf_counter()
    for number in range(wish["count"]):
        while number - heard >= window:
            HEARD.clear()
            await HEARD.wait()
        if wish["size"]:
            await socket.send_bytes(picture)
        else:
            data = {"value": time.perf_counter_ns(), "max": 1, "prompt_id": prompt_id, "node": "2"}
            await socket.send_str(json.dumps({"type": "progress", "data": data}))
        if wish["rate"] and number % TOGETHER == 0:
            await asyncio.sleep(max(0.0, began + number / wish["rate"] - time.perf_counter()))
    return web.Response()


if __name__ == "__main__":
    routes = (web.post("/bench/flood", flood), web.post("/bench/heard", hear))
    run_all([SimulatorOptions(name=port, port=int(port), draw=False, extra_routes=routes) for port in sys.argv[1:]])
