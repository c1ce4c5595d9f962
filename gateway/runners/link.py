"""The link: the gateway's one websocket to a runner. It connects, negotiates, hands over frames in order, and connects
again; what the frames mean is not its business."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Awaitable
from typing import Protocol

import aiohttp
import structlog

from gateway.comfyui import messages
from gateway.comfyui.messages import Message
from gateway.runners.client import RunnerClient
from gateway.runners.errors import RunnerError

RECONNECT_FIRST_SECONDS = 0.2
RECONNECT_MOST_SECONDS = 5.0
HANDSHAKE_SECONDS = 10.0
PONG_SECONDS = 2.0
IN_A_ROW_MOST = 128  # frames; then others get a turn: those who send them on, whose queues are bounded
CONTROL = frozenset({aiohttp.WSMsgType.PING, aiohttp.WSMsgType.PONG})
FLAGS = {"supports_preview_metadata": True}

log = structlog.get_logger(__name__)


class LinkListener(Protocol):
    """Who hears a link. Calls come one after the other, in the order of the frames; the next waits for the last."""

    async def link_opened(self) -> None:
        """The websocket stands and has negotiated."""

    async def link_closed(self, reason: str) -> None:
        """The websocket is gone; it was announced by ``link_opened``, and the link tries again."""

    async def link_not_opened(self, reason: str) -> None:
        """A try to connect has failed; the link tries again."""

    def link_message(self, message: Message) -> Awaitable[None] | None:
        """A text frame. What is returned is awaited before the next one; None, so that a flood costs no coroutines."""

    async def link_binary(self, frame: bytes) -> None:
        """A binary frame."""


class Link:
    """Keeps one websocket to a runner open.

    ComfyUI forgets a ``clientId`` when an *older* socket of the same id ends (issue 16010 of ComfyUI), so a socket is
    closed fully before the next one opens, and there is never more than one.
    """

    def __init__(self, client: RunnerClient, sid: str, listener: LinkListener) -> None:
        self.sid = sid
        self.is_open = False
        self.server_flags: dict[str, object] = {}
        self._client = client
        self._listener = listener
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._pongs: dict[bytes, asyncio.Future[bool]] = {}

    def start(self) -> None:
        """Begins to connect, in a task that this object owns."""
        self._task = asyncio.create_task(self._run(), name=f"link {self._client.name}")

    async def stop(self) -> None:
        """Closes the websocket and ends the task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def retry_now(self) -> None:
        """Ends the wait before the next try to connect."""
        self._wake.set()

    async def answers(self) -> bool:
        """Whether the runner at the other end still is the one that the socket was opened to: by a round trip on it. A
        socket whose runner has restarted may not be known to be closed yet."""
        socket = self._socket
        if socket is None or not self.is_open:
            return False
        mark = uuid.uuid4().bytes
        pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._pongs[mark] = pong
        try:
            async with asyncio.timeout(PONG_SECONDS):
                await socket.ping(mark)
                return await pong
        except (TimeoutError, ConnectionError, aiohttp.ClientError):
            return False
        finally:
            del self._pongs[mark]

    async def _control(self, socket: aiohttp.ClientWebSocketResponse, frame: aiohttp.WSMessage) -> None:
        """A ping is answered, a pong is told to who waits for it."""
        if frame.type is aiohttp.WSMsgType.PING:
            await socket.pong(frame.data)
        elif frame.type is aiohttp.WSMsgType.PONG:
            self._heard(bytes(frame.data), is_there=True)

    def _heard(self, mark: bytes, *, is_there: bool) -> None:
        pong = self._pongs.get(mark)
        if pong is not None and not pong.done():
            pong.set_result(is_there)

    async def reopen(self) -> None:
        """Closes a socket that has gone deaf; the link then connects again."""
        if self._socket is not None:
            await self._socket.close()

    async def _run(self) -> None:
        wait = RECONNECT_FIRST_SECONDS
        while True:
            if await self._once():
                wait = RECONNECT_FIRST_SECONDS
            self._wake.clear()
            try:
                async with asyncio.timeout(wait):  # wait_for may lose a cancellation, before Python 3.12
                    await self._wake.wait()
            except TimeoutError:
                wait = min(wait * 2, RECONNECT_MOST_SECONDS)

    async def _once(self) -> bool:
        """One life of a socket. Returns whether it got as far as being open."""
        opened = False
        reason = "closed by the runner"
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS) as handshake, self._client.websocket(self.sid) as socket:
                self._socket = socket
                await socket.send_str(messages.feature_flags(FLAGS).text)
                backlog = await self._negotiate(socket)
                handshake.reschedule(None)
                self.is_open = opened = True
                await self._listener.link_opened()
                for message in backlog:
                    if (rest := self._listener.link_message(message)) is not None:
                        await rest
                await self._follow(socket)
                reason = f"closed by the runner (code {socket.close_code})"
        except TimeoutError:
            reason = "no answer to the websocket's handshake in time"
        except aiohttp.WSServerHandshakeError as error:  # its own words hold the sid, which nobody else is to know
            reason = f"the websocket was refused with {error.status}"
        except (aiohttp.ClientError, OSError, RunnerError) as error:
            reason = str(error) or type(error).__name__
        except Exception as error:  # a fault in what a message does costs this socket, never the link
            log.error("link.failed", runner=self._client.name, exc_info=True)
            reason = f"a fault of the gateway's own: {type(error).__name__}"
        finally:
            self._socket = None
            if opened:
                self.is_open = False
            for mark in list(self._pongs):
                self._heard(mark, is_there=False)
        if opened:
            await self._listener.link_closed(reason)
        else:
            log.debug("link.not_open", runner=self._client.name, reason=reason)
            await self._listener.link_not_opened(reason)
        return opened

    async def _negotiate(self, socket: aiohttp.ClientWebSocketResponse) -> list[Message]:
        """Reads up to the server's flags, which answer ours. Returns the other messages that came before them."""
        backlog: list[Message] = []
        while True:
            frame = await socket.receive()
            if frame.type is not aiohttp.WSMsgType.TEXT:
                if frame.type is aiohttp.WSMsgType.BINARY:
                    continue
                if frame.type in CONTROL:
                    await self._control(socket, frame)
                    continue
                raise RunnerError(self._client.name, "the websocket closed during its handshake")
            message = messages.parse(frame.data)
            if message is None:
                continue
            if message.type == "feature_flags":
                self.server_flags = dict(message.data)
                return backlog
            backlog.append(message)

    async def _follow(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        in_a_row = 0
        async for frame in socket:  # waits for nothing while there are frames
            in_a_row += 1
            if in_a_row == IN_A_ROW_MOST:
                in_a_row = 0
                await asyncio.sleep(0)
            if frame.type is aiohttp.WSMsgType.TEXT:
                message = messages.parse(frame.data)
                if message is not None and (rest := self._listener.link_message(message)) is not None:
                    await rest
            elif frame.type is aiohttp.WSMsgType.BINARY:
                await self._listener.link_binary(frame.data)
            else:
                await self._control(socket, frame)


def link_sid(gateway_id: str, runner: str) -> str:
    """The gateway's ``clientId`` at a runner: the same in every life of the gateway, so that the events of what it
    dispatched before a restart come to its new link."""
    return hashlib.sha256(f"{gateway_id}/{runner}".encode()).hexdigest()[:32]
