"""Clients that listen, as a process of its own.

python listener.py listen URL COUNT RUNNER    counts progress messages and previews, tells the flooding runner how
                                              many it has had, and prints what it heard as JSON
python listener.py hold URL COUNT             opens so many sockets, prints how many, and holds them
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from contextlib import suppress

import aiohttp
import uvloop

QUIET_SECONDS = 2.0  # after which no more is to come
FIRST_SECONDS = 30.0
MARK = '{"type":"progress","data"'
TELLS_TEXTS, TELLS_PREVIEWS = 100, 5  # messages after which the runner is told
FILES = 200  # that a process needs beside its sockets


async def listen(url: str, count: int, runner: str) -> None:
    telling: set[asyncio.Task[None]] = set()
    at: list[float] = []
    took: list[int] = []
    async with aiohttp.ClientSession() as http, http.ws_connect(url, max_msg_size=0, compress=0) as socket:
        print("ready", flush=True)
        while len(at) < count:
            try:
                message = await asyncio.wait_for(socket.receive(), QUIET_SECONDS if at else FIRST_SECONDS)
            except TimeoutError:
                break
            now = time.perf_counter_ns()
            if message.type is aiohttp.WSMsgType.TEXT:
                if not message.data.replace(" ", "").startswith(MARK):
                    continue
                took.append(now - json.loads(message.data)["data"]["value"])
            elif message.type is not aiohttp.WSMsgType.BINARY:
                break
            at.append(now / 1e9)
            if len(at) % (TELLS_TEXTS if took else TELLS_PREVIEWS) == 0:
                telling.add(task := asyncio.create_task(_tell(http, runner, len(at))))
                task.add_done_callback(telling.discard)
    took.sort()
    found = {"count": len(at), "rate": (len(at) - 1) / (at[-1] - at[0]) if len(at) > 1 else 0.0}
    if took:
        found |= {"p50_ms": took[len(took) // 2] / 1e6, "p99_ms": took[int(len(took) * 0.99)] / 1e6}
    print(json.dumps(found), flush=True)


async def _tell(http: aiohttp.ClientSession, runner: str, count: int) -> None:
    with suppress(aiohttp.ClientError):  # the next one tells a larger count
        async with http.post(f"{runner}/bench/heard", data=str(count)):
            pass


async def hold(url: str, count: int) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    wanted = min(count, most - FILES)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        sockets = []
        for start in range(0, wanted, 100):
            some = range(start, min(start + 100, wanted))
            sockets += await asyncio.gather(
                *(http.ws_connect(f"{url}?clientId=idle-{number}", autoping=True) for number in some)
            )
        print(len(sockets), flush=True)
        await asyncio.gather(*(_read(socket) for socket in sockets))


async def _read(socket: aiohttp.ClientWebSocketResponse) -> None:
    async for _ in socket:
        pass


if __name__ == "__main__":
    mode, given_url, given_count, *given_runner = sys.argv[1:]
    uvloop.run((listen if mode == "listen" else hold)(given_url, int(given_count), *given_runner))
