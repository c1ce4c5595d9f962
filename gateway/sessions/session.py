"""One client's websocket: a bounded queue of frames and the task that sends them. It knows no jobs.

A slow client harms only itself. When its queue is full, previews are dropped; text frames and pictures that are results
never are: if they do not fit either, the socket is closed with 1013 and the client connects again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from aiohttp import WSCloseCode

from gateway.comfyui import frames, messages
from gateway.comfyui.frames import FrameError
from gateway.comfyui.messages import Message
from gateway.config import SessionsConfig
from gateway.sessions.focus import is_end
from gateway.sessions.wire import Wire

FAREWELL_SECONDS = 2.0  # for a client that was too slow to take its close; then it is cut off

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Traffic:
    """What sessions have done since the start: frames sent, previews dropped, sockets closed for being too slow."""

    sent: int = 0
    dropped_previews: int = 0
    too_slow: int = 0


class Session:
    """One open websocket of a client whose id is ``sid``."""

    def __init__(self, sid: str, owner: str, wire: Wire, limits: SessionsConfig) -> None:
        self.sid = sid
        self.owner = owner
        self.flags: dict[str, object] = {}
        self.server_flags: dict[str, object] = {}  # as announced to this client
        self.is_too_slow = False  # given up: what is sent from then on is lost, and the socket about to close
        self.dropped_previews = 0
        self.on_sent: Callable[[], None] = lambda: None  # called when the client has taken more
        self.on_end_sent: Callable[[Message], None] = lambda _end: None  # the last message of a job is with the socket
        self.traffic = Traffic()  # the hub's, once it knows the session
        self._wire = wire
        self._limits = limits
        self._queue: deque[str | bytes] = deque()
        self._ends: deque[Message] = deque()  # of the queued messages those that are the last of their jobs
        self._bytes = 0
        self._wake = asyncio.Event()
        self._unsent: list[Message] = []
        self._farewell: asyncio.Task[None] | None = None
        self._held: bytes | None = None  # a preview that waits for its `progress`
        self._status: int | None = None
        self._status_timer: asyncio.TimerHandle | None = None
        self._status_allowance = limits.status_per_second  # statuses that may be sent at once
        self._status_counted_at = asyncio.get_running_loop().time()

    @property
    def wants_metadata(self) -> bool:
        """True when the client has negotiated previews that name their job and node (type 4)."""
        return bool(self.flags.get("supports_preview_metadata"))

    def unsent(self) -> list[Message]:
        """The text messages that wait, or waited when it was given up; they are no longer sent by this socket."""
        waiting = (messages.parse(frame) for frame in self._queue if isinstance(frame, str))
        found = [*self._unsent, *(message for message in waiting if message is not None)]
        self._queue.clear()
        self._ends.clear()
        self._unsent, self._bytes = [], 0
        return found

    # what the client is told

    def send(self, message: Message) -> None:
        """Queues a text message."""
        if message.type == "progress":
            self._put(message.text, droppable=False)
            if self._held is not None:
                self._release()
        else:
            self._release()
            if is_end(message):
                self._ends.append(message)
            self._put(message.text, droppable=False)

    def send_frame(self, frame: bytes) -> None:
        """Queues a binary frame, in the form that this client has negotiated.

        Without metadata a picture follows its `progress`, with metadata it goes before (ComfyUI main.py
        hijack_progress). Runners send the latter; for a client of the former it is held until the next message.
        """
        self._release()
        try:
            if not self.wants_metadata and frames.event_of(frame) == frames.BinaryEvent.PREVIEW_IMAGE_WITH_METADATA:
                self._held = frames.without_metadata(frame)
            else:
                self._put_frame(frame)
        except FrameError as error:
            log.warning("session.bad_frame", sid=self.sid, reason=str(error))

    def _release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._put_frame(held)

    def _put_frame(self, frame: bytes) -> None:
        self._put(frame, droppable=frames.is_droppable_preview(frame))

    def send_status(self, queue_remaining: int) -> None:
        """Tells the length of the queue: at most so often a second as configured, the last value always."""
        self._status = queue_remaining
        if self._status_timer is not None:
            return
        loop, rate = asyncio.get_running_loop(), self._limits.status_per_second
        passed = loop.time() - self._status_counted_at
        self._status_allowance = min(self._status_allowance + passed * rate, max(rate, 1.0))
        self._status_counted_at += passed
        if self._status_allowance >= 1:
            self._send_status_now()
        else:
            wait = (1 - self._status_allowance) / rate
            self._status_timer = loop.call_later(wait, self._send_status_now)

    def _send_status_now(self) -> None:
        self._status_timer = None
        if self._status is not None:
            self._status_allowance -= 1
            self._put(messages.status(self._status).text, droppable=False)
            self._status = None

    # the queue

    def _put(self, frame: str | bytes, *, droppable: bool) -> None:
        if self.is_too_slow:
            return
        size = len(frame)
        full = len(self._queue) >= self._limits.queue_frames or self._bytes + size > self._limits.queue_bytes
        if full and self._queue:
            if droppable:
                self.dropped_previews += 1
                self.traffic.dropped_previews += 1
                return
            self._queue.append(frame)
            self._give_up()
        else:
            if not self._queue:
                self._wake.set()
            self._queue.append(frame)
            self._bytes += size

    def _give_up(self) -> None:
        """The client is too slow. Its socket may be stuck in a send: it is closed beside that, and then cut."""
        log.warning("session.too_slow", sid=self.sid, frames=len(self._queue), bytes=self._bytes)
        self.is_too_slow = True
        self.traffic.too_slow += 1
        self._unsent = self.unsent()
        self._farewell = asyncio.create_task(self._close_or_cut(), name=f"farewell {self.sid}")

    async def _close_or_cut(self) -> None:
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self._wire.close(WSCloseCode.TRY_AGAIN_LATER, b"too slow; connect again")
        except (TimeoutError, ConnectionError) as error:
            log.info("session.cut", sid=self.sid, reason=type(error).__name__)
        self._wire.cut()

    async def run(self) -> None:
        """Sends what is queued until the socket closes."""
        while self._wire.is_open:
            await self._wake.wait()
            self._wake.clear()
            while self._queue and self._wire.is_open:
                taken = self._take()
                await self._wire.send(taken)
                self._are_sent(taken)

    def _take(self) -> list[str | bytes]:
        """From the queue what is to be sent together."""
        taken: list[str | bytes] = []
        size = 0
        while self._queue and (not taken or size < self._wire.together):
            frame = self._queue.popleft()
            taken.append(frame)
            size += len(frame)
        self._bytes -= size
        return taken

    def _are_sent(self, frames: list[str | bytes]) -> None:
        self.traffic.sent += len(frames)
        self.on_sent()
        for frame in frames if self._ends else ():
            if self._ends and self._ends[0].text is frame:
                self.on_end_sent(self._ends.popleft())

    async def close(self, code: int, reason: str) -> None:
        """Closes the socket from the gateway's side."""
        await self._wire.close(code, reason.encode())

    def ended(self) -> None:
        """Lets go of timers; the socket is gone."""
        if self._status_timer is not None:
            self._status_timer.cancel()
            self._status_timer = None
