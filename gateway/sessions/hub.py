"""All sessions and clients by their ids: it hears the jobs room, and hands each client what is its own.

A ``sid`` belongs to the newest socket that came with it. ComfyUI forgets the sid when an *older* socket of it ends (its
issue 16010: the new socket goes deaf); here an end removes only the socket that ended.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Protocol

import structlog

from gateway.clock import Clock
from gateway.comfyui import messages
from gateway.comfyui.messages import Message
from gateway.config import SessionsConfig
from gateway.jobs.job import Job
from gateway.runners.runner import Runner
from gateway.sessions.broadcasts import Broadcasts, ClientKey
from gateway.sessions.client import Client, outlives_absence
from gateway.sessions.followers import Followers
from gateway.sessions.modes import Mode, mode_of
from gateway.sessions.session import Session, Traffic

MISSED_MESSAGES_MOST = 256  # kept for a client that is away
MISSED_CLIENTS_MOST = 1_000
MISSED_SECONDS = 900.0  # after the last news for a client that is away, it is forgotten

log = structlog.get_logger(__name__)


class LiveJobs(Protocol):
    """What the hub asks of the jobs room."""

    def running_of(self, client_id: str, owner: str) -> Iterable[Job]:
        """The running jobs of a client."""

    def remaining_of(self, owner: str) -> int:
        """The ``queue_remaining`` that an owner is told."""


class Hub:
    """Who is connected. It is the jobs room's JobListener."""

    def __init__(
        self,
        flags: Callable[[], dict[str, object]],
        limits: SessionsConfig | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.live: LiveJobs
        self.traffic = Traffic()
        self.on_told: Callable[[str], None] = lambda _job_id: None  # the end of a job is with its client's socket
        self._flags = flags
        self._limits = limits or SessionsConfig()
        self._clock = clock or Clock()
        self._sessions: dict[ClientKey, Session] = {}
        self._of_owner: dict[str, dict[str, Session]] = {}  # the same by owner, then sid
        self.broadcasts = Broadcasts(self._sessions)
        self.followers = Followers(self._clock.monotonic)
        self._clients: dict[ClientKey, Client] = {}
        self._away: OrderedDict[ClientKey, float] = OrderedDict()  # monotonic seconds of the last news, oldest first

    def __len__(self) -> int:
        return len(self._sessions)

    # connections

    @staticmethod
    def new_sid() -> str:
        """An id for a client that brings none, as ComfyUI makes it (server.py websocket_handler)."""
        return uuid.uuid4().hex

    def connected(self, session: Session, asked: str | None = None) -> None:
        """A socket stands: it is told its id, the queue, and what it missed (ComfyUI server.py websocket_handler).

        ``asked`` is the ``mode`` in its query.
        """
        self._forget_old()
        self._sessions[_key_of(session)] = session
        self._of_owner.setdefault(session.owner, {})[session.sid] = session
        session.traffic = self.traffic
        session.on_end_sent = self._end_sent
        session.send(messages.status(self.live.remaining_of(session.owner), session.sid))
        self._client(_key_of(session)).connected(session, asked, self._running(session))
        self._away.pop(_key_of(session), None)
        log.debug("session.connected", sid=session.sid, sockets=len(self))

    def negotiated(self, session: Session, flags: dict[str, object]) -> None:
        """The client's first message was its feature flags: it is told the pool's."""
        session.flags = flags
        session.server_flags = self._flags()
        session.send(messages.feature_flags(session.server_flags))
        client = self._clients.get(_key_of(session))
        if client is not None and client.session is session:
            client.negotiated(self._running(session))

    def disconnected(self, session: Session) -> None:
        """A socket is gone."""
        session.ended()
        self.followers.left(session)
        if self._sessions.get(_key_of(session)) is session:
            del self._sessions[_key_of(session)]
            del self._of_owner[session.owner][session.sid]
            if not self._of_owner[session.owner]:
                del self._of_owner[session.owner]
        client = self._clients.get(_key_of(session))
        if client is not None:
            client.left(session)
            if client.session is None:
                self._is_away(_key_of(session))
        log.debug("session.disconnected", sid=session.sid, sockets=len(self), dropped_previews=session.dropped_previews)

    async def close(self) -> None:
        """Closes every socket; clients connect again by themselves."""
        await asyncio.gather(*(session.close(1001, "the gateway stops") for session in self._sessions.values()))

    # JobListener

    def job_message(self, job: Job, message: Message) -> None:
        """See JobListener."""
        key = _key_of_job(job)
        if key is None:
            self.followers.message(job, message)
            return
        client = self._clients.get(key)
        if client is None:
            if not outlives_absence(message):
                return
            client = self._client(key)
        client.hear(job.id, message)
        if client.session is None and outlives_absence(message):
            self._is_away(key)

    def job_frame(self, job: Job, frame: bytes) -> None:
        """See JobListener."""
        key = _key_of_job(job)
        if key is None:
            self.followers.frame(job, frame)
        elif key in self._clients:
            self._clients[key].hear(job.id, frame)

    def job_lost(self, job: Job) -> None:
        """See JobListener."""
        key = _key_of_job(job)
        if key in self._clients:
            self._clients[key].lost(job.id)

    def queue_changed(self, owner: str) -> None:
        """See JobListener. Others are told nothing: not even that something has changed."""
        sessions = self._of_owner.get(owner)
        if sessions:
            remaining = self.live.remaining_of(owner)
            for session in sessions.values():
                session.send_status(remaining)

    def runner_message(self, runner: str, message: Message) -> None:
        """See JobListener."""
        self.broadcasts.message(runner, message)

    def runner_frame(self, runner: str, frame: bytes) -> None:
        """See JobListener."""
        self.broadcasts.frame(runner, frame)

    async def runner_connected(self, runner: Runner) -> None:
        """See JobListener."""
        await self.broadcasts.runner_connected(runner)

    # what the jobs room asks

    def runs_alone(self, owner: str, client_id: str) -> bool:
        """Whether the jobs of this client are to run one at a time."""
        client = self._clients.get((owner, client_id))
        mode = client.mode if client is not None else mode_of(None, self._limits.mode, has_flags=False)
        return mode is Mode.SERIAL

    # clients

    def _running(self, session: Session) -> Iterable[Job]:
        return self.live.running_of(session.sid, session.owner)

    def _end_sent(self, end: Message) -> None:
        job_id = messages.prompt_id_of(end)
        if job_id is not None:
            self.on_told(job_id)

    def _client(self, key: ClientKey) -> Client:
        if key not in self._clients:
            self._clients[key] = Client(self._limits, missed_most=MISSED_MESSAGES_MOST)
        return self._clients[key]

    def _is_away(self, key: ClientKey) -> None:
        self._away[key] = self._clock.monotonic()
        self._away.move_to_end(key)
        self._forget_old()

    def _forget_old(self) -> None:
        oldest_kept = self._clock.monotonic() - MISSED_SECONDS
        while self._away:
            key, since = next(iter(self._away.items()))
            if len(self._away) <= MISSED_CLIENTS_MOST and since >= oldest_kept:
                return
            del self._away[key]
            del self._clients[key]


def _key_of(session: Session) -> ClientKey:
    return (session.owner, session.sid)


def _key_of_job(job: Job) -> ClientKey | None:
    return (job.owner, job.client_id) if job.client_id else None
