"""Sockets that follow an owner's jobs which name no client, as Comfy Cloud's clients do: they post a prompt without a
``client_id`` and then open ``/ws?clientId=…&token=…``, where every socket of a user is told of that user's jobs.

What such a socket came too late for, outputs and ends, is kept for a while and told to it first; it looks for its
prompt's id in what it hears. Jobs that name a client are told to that client only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from gateway.comfyui.messages import Message
from gateway.jobs.job import Job
from gateway.sessions.client import in_form_for, outlives_absence
from gateway.sessions.session import Session

KEPT_MESSAGES_MOST = 4_096  # of all owners
KEPT_BYTES_MOST = 16 * 1024 * 1024
KEPT_SECONDS = 900.0

Kept = tuple[float, str, Message]  # when it was told in monotonic seconds, to whom, what


class Followers:
    """The sockets by their owner, and what was told lately of jobs without a client."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._now = monotonic
        self._sessions: dict[str, set[Session]] = {}
        self._kept: deque[Kept] = deque()
        self._bytes = 0

    def joined(self, session: Session) -> None:
        """A socket follows, and hears what it has missed."""
        self._sessions.setdefault(session.owner, set()).add(session)
        self._forget()
        for _, owner, message in self._kept:
            if owner == session.owner:
                session.send(message)

    def left(self, session: Session) -> None:
        """A socket is gone; it need not be one that follows."""
        sessions = self._sessions.get(session.owner, set())
        sessions.discard(session)
        if not sessions:
            self._sessions.pop(session.owner, None)

    def message(self, job: Job, message: Message) -> None:
        """A text message of a job without a client."""
        if outlives_absence(message):
            self._kept.append((self._now(), job.owner, message))
            self._bytes += len(message.text)
            self._forget()
        for session in self._sessions.get(job.owner, ()):
            session.send(message)

    def frame(self, job: Job, frame: bytes) -> None:
        """A binary frame of a job without a client."""
        for session in self._sessions.get(job.owner, ()):
            session.send_frame(in_form_for(session, frame))

    def _forget(self) -> None:
        oldest = self._now() - KEPT_SECONDS
        while self._kept and (
            len(self._kept) > KEPT_MESSAGES_MOST or self._bytes > KEPT_BYTES_MOST or self._kept[0][0] < oldest
        ):
            self._bytes -= len(self._kept.popleft()[2].text)
