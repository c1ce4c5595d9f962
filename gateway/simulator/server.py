"""A simulated runner as a server: start, stop, restart, and the ways it can vanish. What it answers is in `routes`."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from aiohttp import web

from gateway.simulator.application import build_application, find_web_root
from gateway.simulator.faults import Faults
from gateway.simulator.folders import Folders
from gateway.simulator.gpu import Gpu
from gateway.simulator.options import SimulatorOptions
from gateway.simulator.personality import personality_of
from gateway.simulator.runner import RunnerState

logger = logging.getLogger(__name__)

_BACKLOG = 1024  # connections waiting to be taken
_SHUTDOWN_SECONDS = 0.01  # for handlers whose connection is cut; aiohttp takes 0 for no limit
_KILLED = 137  # exit status of a process that got SIGKILL

# A real server prints a traceback for each of its 500s; here they are part of the play.
_http_logger = logging.getLogger(f"{__name__}.http")
_http_logger.setLevel(logging.CRITICAL)


class Simulator:
    """One simulated ComfyUI server.

    async with Simulator(SimulatorOptions(name="gpu-0")) as runner:
        ... runner.url, runner.faults, runner.executed, await runner.restart(forget=True)

    `on_death` is called instead of going dark when the runner dies; a process of its own ends itself there.
    """

    def __init__(self, options: SimulatorOptions | None = None, *, on_death: Callable[[], None] | None = None) -> None:
        self.options = options or SimulatorOptions()
        personality_of(self.options.version)
        self.faults = Faults()
        """Switches of what is to go wrong; they survive restarts."""
        self.executed: list[str] = []
        """The prompt ids that ran to completion, in order, over all restarts; one id twice means it ran twice."""
        self.died = asyncio.Event()
        """Set while the runner is down because it died."""
        self.folders: Folders
        self.state: RunnerState
        self._on_death = on_death
        self._port = self.options.port
        self._app_runner: web.AppRunner | None = None
        self.tasks: list[asyncio.Task[None]] = []
        """The publisher of websocket messages and the worker."""
        self._acts: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port, known once the runner has started."""
        return self._port

    @property
    def url(self) -> str:
        """http://host:port, without a slash."""
        return f"http://{self.options.host}:{self._port}"

    @property
    def gpu(self) -> Gpu:
        """Time, models and the gate of the worker."""
        return self.state.gpu

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Begin to serve.

        Raises:
            OSError: the port is taken.
        """
        self.folders = Folders(self.options.base_dir)
        self.folders.empty_temp()
        self._make_state()
        await self._serve()

    async def close(self) -> None:
        """Stop and clean up; raises what the worker died of if nobody meant it to."""
        for act in list(self._acts):
            act.cancel()
        self.faults.hang = False
        try:
            await self._stop()
        finally:
            self.folders.remove()

    def pause(self, after: int = 0) -> None:
        """Hold the worker inside a job, after `after` further units of work (a step, a load, a node's start).

        An interrupt still gets through to a job that is held.
        """
        self.gpu.pause(after)

    def resume(self) -> None:
        """Let the worker go on."""
        self.gpu.resume()

    async def held(self) -> None:
        """Wait until a job is held."""
        await self.gpu.held()

    async def idle(self) -> None:
        """Wait until nothing is pending or running."""
        await self.state.queue.idle()

    def drop_websockets(self, sid: str | None = None) -> int:
        """Cut the websocket of one client, or all; how many there were."""
        return self.state.sockets.drop(sid)

    async def refuse(self, seconds: float | None = None) -> None:
        """Close the port and cut what is connected, while the worker goes on; until `accept`, or for so long."""
        await self._stop_serving()
        if seconds is not None:
            await asyncio.sleep(seconds)
            await self.accept()

    async def accept(self) -> None:
        """Take connections again after `refuse`."""
        if self._app_runner is None:
            await self._listen()

    async def die(self) -> None:
        """Go down at once, as a killed process: connections reset, nothing answered, queue and history lost."""
        if self._on_death is not None:
            self._on_death()
            return
        await self._stop()
        self.died.set()

    async def restart(self, *, forget: bool = True) -> None:
        """Stop if need be, and start on the same port.

        With `forget`, as a real restart, queue, history, cache, loaded models, the counter of prompts and the temp
        folder are gone; without it, the same server is back with all it knew, and a job that ran begins again.
        """
        await self._stop()
        self.died.clear()
        if forget:
            self.folders.empty_temp()
            self._make_state()
        else:
            self.state.revive()
        await self._serve()

    def soon(self, action: Callable[[], Awaitable[None]]) -> None:
        """Do something that ends the present connections, once the answer on its way is out."""

        async def act() -> None:
            await asyncio.sleep(0.01)
            await action()

        task = asyncio.ensure_future(act())
        self._acts.add(task)
        task.add_done_callback(self._acts.discard)

    def _make_state(self) -> None:
        self.state = RunnerState(self.options, self.faults, self.folders, self.executed)
        self.state.web_root = find_web_root(self.options.front_end_root, self.folders.base)

    async def _serve(self) -> None:
        await self._listen()
        self.tasks = [
            asyncio.create_task(self.state.sockets.publish(), name=f"{self.options.name} publish"),
            asyncio.create_task(self.state.work(self._worker_died), name=f"{self.options.name} worker"),
        ]
        for task in self.tasks:
            task.add_done_callback(_hear)

    def _worker_died(self) -> None:
        self.soon(self.die)

    async def _listen(self) -> None:
        app = build_application(self.state, self)
        self._app_runner = web.AppRunner(
            app, access_log=None, logger=_http_logger, shutdown_timeout=_SHUTDOWN_SECONDS, handle_signals=False
        )
        await self._app_runner.setup()
        site = web.TCPSite(self._app_runner, self.options.host, self._port, backlog=_BACKLOG, reuse_address=True)
        await site.start()
        if self._port == 0:
            self._port = self._app_runner.addresses[0][1]
        self.state.port = self._port

    async def _stop(self) -> None:
        tasks, self.tasks = self.tasks, []
        for task in tasks:
            task.cancel()
        await self._stop_serving()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _stop_serving(self) -> None:
        app_runner, self._app_runner = self._app_runner, None
        if app_runner is None:
            return
        self.state.sockets.drop()
        if app_runner.server is not None:
            for connection in app_runner.server.connections:
                if connection.transport is not None:
                    connection.transport.abort()
        await app_runner.cleanup()


def _hear(task: asyncio.Task[None]) -> None:
    """Say at once what a task failed of; `close` raises it."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("%s failed", task.get_name(), exc_info=error)


async def run(options: SimulatorOptions, *, on_start: Callable[[Simulator], None] | None = None) -> None:
    """Serve until cancelled; a runner that is to die ends the process."""
    simulator = Simulator(options, on_death=_end_process)
    async with simulator:
        if on_start is not None:
            on_start(simulator)
        await asyncio.Event().wait()


def _end_process() -> None:
    os._exit(_KILLED)
