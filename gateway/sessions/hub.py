"""All sessions by their id, and what each is told: it hears the jobs room and hands frames to the sessions.

A ``sid`` belongs to the newest socket that came with it. ComfyUI forgets the sid when an *older* socket of it ends (its
issue 16010: the new socket goes deaf); here an end removes only the socket that ended.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Protocol

import structlog

from gateway.comfyui import messages
from gateway.comfyui.messages import Message
from gateway.jobs.job import Job
from gateway.runners.runner import Runner
from gateway.sessions.broadcasts import Broadcasts
from gateway.sessions.session import Session

MISSED_MESSAGES_MOST = 256  # kept for a client that is away
MISSED_CLIENTS_MOST = 1_000
WORTH_KEEPING = frozenset({"executed", *messages.TERMINAL})  # what a client that was away has to hear of

log = structlog.get_logger(__name__)


class LiveJobs(Protocol):
    """What the hub asks of the jobs room."""

    def running_of(self, client_id: str, owner: str) -> Iterable[Job]:
        """The running jobs of a client."""

    def remaining_of(self, owner: str) -> int:
        """The ``queue_remaining`` that an owner is told."""


class Hub:
    """Who is connected. It is the jobs room's JobListener."""

    def __init__(self, flags: Callable[[], dict[str, object]]) -> None:
        self.live: LiveJobs
        self._flags = flags
        self._sessions: dict[str, Session] = {}
        self.broadcasts = Broadcasts(self._sessions)
        self._missed: OrderedDict[tuple[str, str], deque[Message]] = OrderedDict()  # by owner and sid

    def __len__(self) -> int:
        return len(self._sessions)

    # connections

    @staticmethod
    def new_sid() -> str:
        """An id for a client that brings none, as ComfyUI makes it (server.py websocket_handler)."""
        return uuid.uuid4().hex

    def connected(self, session: Session) -> None:
        """A socket stands: it is told its id, the queue, and what it missed (ComfyUI server.py websocket_handler)."""
        self._sessions[session.sid] = session
        remaining = self.live.remaining_of(session.owner)
        session.send(messages.status(remaining, session.sid))
        running = list(self.live.running_of(session.sid, session.owner))
        replayed = {job.id for job in running}
        for message in self._missed.pop((session.owner, session.sid), ()):
            if messages.prompt_id_of(message) not in replayed:
                session.send(message)
        for job in running:
            for message in job.live.messages():
                session.send(message)
            if job.live.preview is not None:
                session.send_frame(job.live.preview)
        log.debug("session.connected", sid=session.sid, sockets=len(self))

    def negotiated(self, session: Session, flags: dict[str, object]) -> None:
        """The client's first message was its feature flags: it is told the pool's."""
        session.flags = flags
        session.send(messages.feature_flags(self._flags()))

    def disconnected(self, session: Session) -> None:
        """A socket is gone."""
        session.ended()
        if self._sessions.get(session.sid) is session:
            del self._sessions[session.sid]
        log.debug("session.disconnected", sid=session.sid, sockets=len(self), dropped_previews=session.dropped_previews)

    async def close(self) -> None:
        """Closes every socket; clients connect again by themselves."""
        await asyncio.gather(*(session.close(1001, "the gateway stops") for session in self._sessions.values()))

    # JobListener

    def job_message(self, job: Job, message: Message) -> None:
        """See JobListener."""
        session = self._session_of(job)
        if session is not None:
            session.send(message)
        elif job.client_id and _outlives_absence(message):
            self._keep((job.owner, job.client_id), message)

    def job_frame(self, job: Job, frame: bytes) -> None:
        """See JobListener."""
        session = self._session_of(job)
        if session is not None:
            session.send_frame(frame)

    def queue_changed(self) -> None:
        """See JobListener."""
        for session in self._sessions.values():
            session.send_status(self.live.remaining_of(session.owner))

    def runner_message(self, runner: str, message: Message) -> None:
        """See JobListener."""
        self.broadcasts.message(runner, message)

    def runner_frame(self, runner: str, frame: bytes) -> None:
        """See JobListener."""
        self.broadcasts.frame(runner, frame)

    async def runner_connected(self, runner: Runner) -> None:
        """See JobListener."""
        await self.broadcasts.runner_connected(runner)

    def _session_of(self, job: Job) -> Session | None:
        session = self._sessions.get(job.client_id) if job.client_id else None
        return session if session is not None and session.owner == job.owner else None

    def _keep(self, client: tuple[str, str], message: Message) -> None:
        kept = self._missed.setdefault(client, deque(maxlen=MISSED_MESSAGES_MOST))
        self._missed.move_to_end(client)
        kept.append(message)
        while len(self._missed) > MISSED_CLIENTS_MOST:
            self._missed.popitem(last=False)


def _outlives_absence(message: Message) -> bool:
    return message.type in WORTH_KEEPING or (message.type == "executing" and message.data.get("node") is None)
