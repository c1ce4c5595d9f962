"""What looks like one ComfyUI from outside: a simulated runner itself, or a gateway over some. A test that compares the
two asks both through the same few methods, and can know when each has said all that it has to say."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.comfyui import messages
from gateway.simulator import Simulator
from support.pools import READY_SECONDS, RunningPool

MARKER = "all is said"  # the type of a message after which nothing more comes for now


class Server:
    """``base`` is its URL, ``simulators`` are the runners that do its work."""

    def __init__(self, base: str, simulators: list[Simulator]) -> None:
        self.base = base
        self.simulators = simulators

    async def idle(self) -> None:
        """Waits until nothing is pending or running."""
        raise NotImplementedError

    async def followed(self) -> None:
        """Waits until it knows all that its runners have told so far."""

    async def mark(self) -> None:
        """Sends MARKER to every websocket, behind all that has happened so far."""
        raise NotImplementedError

    def count_from(self, number: int) -> None:
        """The next prompt has this number."""
        raise NotImplementedError

    async def holds(self) -> None:
        """Waits until a job is held at a runner that is paused."""
        waits = [asyncio.ensure_future(simulator.held()) for simulator in self.simulators]
        done, pending = await asyncio.wait(waits, timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for each in pending:
            each.cancel()
        assert done, "no job is held"
        await self.followed()

    def forget(self) -> None:
        """Results and models in memory are gone, as after POST /free."""
        for simulator in self.simulators:
            simulator.resume()
            simulator.faults.clear()
            simulator.state.free(unload_models=True, free_memory=True)


class Direct(Server):
    """The runner itself."""

    def __init__(self, simulator: Simulator) -> None:
        super().__init__(simulator.url, [simulator])

    async def idle(self) -> None:
        await self.simulators[0].idle()

    async def mark(self) -> None:
        self.simulators[0].state.sockets.send(MARKER, {})

    def count_from(self, number: int) -> None:
        self.simulators[0].state.number = number


class Gateway(Server):
    """A gateway over the runners of a pool."""

    def __init__(self, pool: RunningPool) -> None:
        super().__init__(pool.base, pool.simulators)
        self._pool = pool
        self._hub = pool.rooms.hub
        self._heard = asyncio.Event()
        self._waited_for: set[str] = set()
        pool.rooms.jobs.registry.listener = _Listener(self._hub, self._runner_marked)  # type: ignore[assignment]

    async def idle(self) -> None:
        await self._pool.until(lambda: not self._pool.rooms.jobs.registry.remaining)

    async def followed(self) -> None:
        """A marker from every runner comes behind what that runner told before."""
        self._heard.clear()
        self._waited_for = {simulator.options.name for simulator in self.simulators}
        for simulator in self.simulators:
            simulator.state.sockets.send(MARKER, {"runner": simulator.options.name})
        async with asyncio.timeout(READY_SECONDS):
            await self._heard.wait()

    async def mark(self) -> None:
        await self.followed()
        primary = self._pool.rooms.pool.primary
        assert primary is not None
        self._hub.runner_message(primary.name, messages.make(MARKER, {}))

    def _runner_marked(self, name: str) -> None:
        self._waited_for.discard(name)
        if not self._waited_for:
            self._heard.set()

    def count_from(self, number: int) -> None:
        registry = self._pool.rooms.jobs.registry
        registry.start_counting(registry.next_job_seq(), number)


class _Listener:
    """The hub, but for markers, which it keeps to itself."""

    def __init__(self, hub: Any, marked: Any) -> None:
        self._hub = hub
        self._marked = marked

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hub, name)

    def job_message(self, job: Any, message: messages.Message) -> None:
        if message.type == MARKER:
            self._marked(message.data["runner"])
        else:
            self._hub.job_message(job, message)

    def runner_message(self, runner: str, message: messages.Message) -> None:
        if message.type == MARKER:
            self._marked(message.data["runner"])
        else:
            self._hub.runner_message(runner, message)
