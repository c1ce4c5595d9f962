"""What links bring, gone through in order for each runner; the link itself is not held up while something is stored.

    a message comes    nothing stands before it: it is gone through at once. A message that is followed by a commit (the
                       names of an output, an end) is gone through in a task, and what comes meanwhile stands in line
    the line is full   the link waits
    an end comes       whatever stands before it: its job has run, and its slot is free, so that the next one is on its
                       way while this end is being written down

What a message means is the follower's business.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from dataclasses import dataclass, field

import structlog

from gateway.comfyui.messages import Message
from gateway.jobs.follow import Follower
from gateway.runners.runner import Runner
from gateway.storage.errors import StorageError

LINE_MOST = 256  # messages and frames of one runner
LINE_BYTES_MOST = 1024 * 1024

Told = tuple[Runner, Message | bytes]

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Line:
    """What one runner has told and nobody has gone through, while something of it is under way."""

    waiting: deque[Told] = field(default_factory=deque)
    size: int = 0  # bytes
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    @property
    def is_full(self) -> bool:
        return len(self.waiting) >= LINE_MOST or self.size >= LINE_BYTES_MOST

    def put(self, told: Told) -> None:
        self.waiting.append(told)
        self.size += _size(told)

    def take(self) -> Told:
        told = self.waiting.popleft()
        self.size -= _size(told)
        self.moved.set()
        return told


class Hearing:
    """The lines of all runners; there is one only while it is needed."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._lines: dict[str, _Line] = {}
        self._is_open = True

    def message(self, runner: Runner, message: Message) -> Awaitable[None] | None:
        """A text frame from a runner's link. Returns what is to be awaited before the next one, if anything is."""
        if not self._is_open:
            return None
        self._follower.heard(runner, message)
        if runner.name not in self._lines and self._follower.at_once(runner, message):
            return None
        return self._stand(runner, message)

    async def binary(self, runner: Runner, frame: bytes) -> None:
        """A binary frame from a runner's link."""
        if not self._is_open:
            return
        if runner.name not in self._lines:
            await self._followed(runner, frame)
        else:
            await self._stand(runner, frame)

    async def settled(self, runner: Runner) -> None:
        """Returns once everything that has come from a runner has been gone through."""
        line = self._lines.get(runner.name)
        if line is not None and line.task is not None:
            await asyncio.wait([line.task])

    async def close(self) -> None:
        """Hears no more and gives up what stands in line: the next life of the gateway asks the runners. An end that
        has begun to be written down is written, whoever waits for it."""
        self._is_open = False
        tasks = [line.task for line in self._lines.values() if line.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _stand(self, runner: Runner, what: Message | bytes) -> None:
        line = self._lines.setdefault(runner.name, _Line())
        while line.is_full:
            line.moved.clear()
            await line.moved.wait()
            line = self._lines.setdefault(runner.name, _Line())
        line.put((runner, what))
        if line.task is None:
            line.task = asyncio.create_task(self._go_through(runner.name, line), name=f"hearing {runner.name}")

    async def _go_through(self, name: str, line: _Line) -> None:
        try:
            while line.waiting:
                runner, what = line.take()
                try:
                    await self._followed(runner, what)
                except Exception:  # a fault in what a message does costs this socket, as where the link hears of it
                    log.error("runner.message_failed", runner=name, exc_info=True)
                    await runner.reopen_link("a fault of the gateway's own in what a message does")
        finally:
            del self._lines[name]
            line.moved.set()

    async def _followed(self, runner: Runner, what: Message | bytes) -> None:
        try:
            if isinstance(what, bytes):
                await self._follower.binary(runner, what)
            else:
                await self._follower.message(runner, what)
        except StorageError as error:
            # The frame is gone, the job is not: reconciling reads its end from the runner's history.
            kind = "frame" if isinstance(what, bytes) else what.type
            log.error("runner.message_not_followed", runner=runner.name, type=kind, reason=str(error))


def _size(told: Told) -> int:
    what = told[1]
    return len(what) if isinstance(what, bytes) else len(what.text)
