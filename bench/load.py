"""What the gateway does with ten thousand waiting and ten thousand ended jobs: `make load`. Loopback only; it
ends by itself; prints figures and fails nothing. The gateway and its runners are processes of their own."""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.graphs import save_graph
from support.processes import Child, RunnerProcess, gateway_process, runner_processes, until, write_config
from support.seeds import seed

WAITING, ENDED = 10_000, 10_000  # jobs
RUNNERS = 8
HEALTH = {"interval_seconds": 5, "grace_seconds": 15}  # as by default
FEW = 4 * RUNNERS  # more than they hold
REQUESTS = 200  # of each kind
PROMPTS = 300
SOCKETS = 1_000
LONGEST_SECONDS = 115.0
READS = [
    "/prompt",
    "/api/jobs",
    "/api/jobs?limit=200",
    "/api/jobs?status=in_progress,pending&limit=200",
    "/history?max_items=200",
]


def memory_mb(process: Child) -> float:
    """Resident memory, in MB."""
    pages = int(Path(f"/proc/{process.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def say(what: str, figure: str) -> None:
    print(f"{what:<58} {figure}", flush=True)


def milliseconds(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    p50, p99 = ordered[len(ordered) // 2], ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)]
    return f"p50 {p50 * 1000:6.1f} ms   p99 {p99 * 1000:6.1f} ms   max {ordered[-1] * 1000:6.1f} ms"


async def timed(work: Callable[[], Awaitable[Any]], times: int) -> list[float]:
    found = []
    for _ in range(times):
        began = time.perf_counter()
        await work()
        found.append(time.perf_counter() - began)
    return found


async def read(http: aiohttp.ClientSession, url: str) -> int:
    async with http.get(url) as response:
        assert response.status == 200, (url, response.status)
        return len(await response.read())


async def submit(http: aiohttp.ClientSession, base: str, number: int) -> None:
    async with http.post(f"{base}/prompt", json={"prompt": save_graph(number)}) as response:
        assert response.status == 200, await response.text()


async def first_dispatch(config: Path, stack: AsyncExitStack, runners: list[RunnerProcess]) -> tuple[Child, float]:
    """A gateway, and the seconds from the start of its process until a runner has a job."""
    began = time.perf_counter()

    async def watch() -> float:
        await until(lambda: any_has_a_job(runners), "a job is given out")
        return time.perf_counter() - began

    watching = asyncio.create_task(watch())
    gateway = await stack.enter_async_context(gateway_process(config))
    return gateway, await watching


async def any_has_a_job(runners: list[RunnerProcess]) -> bool:
    return any(state["queue_remaining"] for state in await asyncio.gather(*(runner.state() for runner in runners)))


async def has_settled(gateway: Child) -> bool:
    """Whether what it does by itself after its start is done: it uses less than a twentieth of a core."""
    before = processor_seconds(gateway)
    await asyncio.sleep(1)
    return processor_seconds(gateway) - before < 0.05


def processor_seconds(process: Child) -> float:
    fields = Path(f"/proc/{process.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def started(stack: AsyncExitStack, folder: Path, *, waiting: int, ended: int) -> tuple[Child, int]:
    """A gateway over new runners that run nothing, with so many jobs of an earlier life; and how large those are."""
    folder.mkdir()
    runners = await stack.enter_async_context(runner_processes(folder, RUNNERS))
    config = write_config(folder, runners, queue={"max_pending": 100_000}, log={"level": "error"}, health=HEALTH)
    for runner in runners:
        await runner.control("pause", after=0)
    size = await seed(folder / "data" / "gateway.db", waiting=waiting, ended=ended)
    gateway, seconds = await first_dispatch(config, stack, runners)
    say(f"first dispatch, {waiting} waiting and {ended} ended jobs", f"{seconds:.2f} s from the start of the process")
    return gateway, size


async def measure(folder: Path) -> None:
    async with AsyncExitStack() as stack:
        gateway, _ = await started(stack, folder / "few", waiting=FEW, ended=0)
        small = memory_mb(gateway)
    async with AsyncExitStack() as stack:
        gateway, size = await started(stack, folder / "many", waiting=WAITING, ended=ENDED)
        say("memory of the gateway", f"{small:.0f} MB, {memory_mb(gateway):.0f} MB; a job is {size} bytes of JSON")
        began = time.perf_counter()
        while not await has_settled(gateway) and time.perf_counter() - began < 20:
            pass
        say("settled after", f"{time.perf_counter() - began:.0f} s more")
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        for path in READS:
            await read(http, gateway.url + path)
            before = processor_seconds(gateway)
            found = await timed(lambda path=path: read(http, gateway.url + path), REQUESTS)
            used = (processor_seconds(gateway) - before) / REQUESTS
            say(f"GET {path}", f"{milliseconds(found)}   {used * 1000:.1f} ms of processor time")
        volume = await read(http, f"{gateway.url}/queue")
        say(
            f"GET /queue ({volume / 1e6:.0f} MB)",
            milliseconds(await timed(lambda: read(http, f"{gateway.url}/queue"), 5)),
        )
        await submissions(http, gateway)
        await sockets(http, gateway)
        await clear(http, gateway)


async def submissions(http: aiohttp.ClientSession, gateway: Child) -> None:
    numbers = iter(range(10 * PROMPTS))
    one = await timed(lambda: submit(http, gateway.url, next(numbers)), PROMPTS)
    say("POST /prompt, one after the other", milliseconds(one))

    async def flood() -> list[float]:
        return await timed(lambda: submit(http, gateway.url, next(numbers)), PROMPTS // 16)

    began = time.perf_counter()
    many = [each for found in await asyncio.gather(*(flood() for _ in range(16))) for each in found]
    say("POST /prompt, 16 at once", f"{milliseconds(many)}   {len(many) / (time.perf_counter() - began):.0f}/s")


async def sockets(http: aiohttp.ClientSession, gateway: Child) -> None:
    before = memory_mb(gateway)
    async with AsyncExitStack() as stack:
        for number in range(SOCKETS):
            await stack.enter_async_context(http.ws_connect(f"{gateway.url}/ws?clientId=idle-{number}"))
        say(f"{SOCKETS} idle websockets", f"{(memory_mb(gateway) - before) * 1000 / SOCKETS:.0f} kB each")
        busy = await timed(lambda: submit(http, gateway.url, 1), 50)
        say("POST /prompt beside them", milliseconds(busy))


async def clear(http: aiohttp.ClientSession, gateway: Child) -> None:
    """How long others wait while everything that waits is deleted."""
    cleared = asyncio.create_task(http.post(f"{gateway.url}/queue", json={"clear": True}).__aenter__())
    began, beside = time.perf_counter(), []
    while not cleared.done():
        beside += await timed(lambda: read(http, f"{gateway.url}/prompt"), 1)
    say(f"POST /queue clear, {WAITING} jobs", f"{time.perf_counter() - began:.2f} s")
    say("GET /prompt meanwhile", milliseconds(beside))
    assert (await cleared).status == 200


async def main() -> None:
    async with asyncio.timeout(LONGEST_SECONDS):
        with tempfile.TemporaryDirectory() as name:
            await measure(Path(name))


if __name__ == "__main__":
    asyncio.run(main())
