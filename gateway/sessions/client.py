"""One client by its id, across the sockets that it opens one after the other: its mode, whose turn it is among its
jobs, and what it missed while it had no socket. How many clients there are, and for how long, is the hub's business.

    a frame of a job    with a socket                    away
    ----------------    -----------------------------    ---------------------------------------------
    RAW                 sent                             outputs and ends are noted as missed
    FOCUS, SERIAL       as `focus` says                  the same, of what `focus` says

    A client that comes back is told what it missed of jobs that have ended; then, for a running job, what draws it
    again: every one's (RAW), or that of the job whose turn it is, while the others still wait for theirs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from gateway.comfyui import frames, messages
from gateway.comfyui.frames import BinaryEvent, FrameError
from gateway.comfyui.messages import Message
from gateway.config import SessionsConfig
from gateway.jobs.job import Job
from gateway.sessions.focus import Focus, Frame, is_end
from gateway.sessions.modes import Mode, mode_of
from gateway.sessions.session import Session

AWAY_FRAMES_MOST = 256  # kept of jobs whose turn has not come, for a client that is away
AWAY_BYTES_MOST = 1024 * 1024
WORTH_KEEPING = frozenset({"executed", *messages.TERMINAL})  # what a client that was away has to hear of
LONG_TEXT_FLAG = "supports_progress_text_metadata"


class Client:
    """What one client is told, whichever socket it has."""

    def __init__(self, limits: SessionsConfig, *, missed_most: int) -> None:
        self.session: Session | None = None
        self._limits = limits
        self._asked: str | None = None
        self._has_flags = False
        self._focus: Focus | None = None
        self._missed: deque[Message] = deque(maxlen=missed_most)
        self._turn_to_mode(())

    @property
    def mode(self) -> Mode:
        """How it is told of its jobs."""
        return mode_of(self._asked, self._limits.mode, has_flags=self._has_flags)

    # sockets

    def connected(self, session: Session, asked: str | None, running: Iterable[Job]) -> None:
        """It has a new socket. ``asked`` is the mode that it asks for, ``running`` are its jobs that run now."""
        if self.session is not None:
            self.left(self.session)
        self._asked = asked
        self._turn_to_mode(())
        self.session = session
        jobs = list(running)
        again = {job.id for job in jobs}
        missed = [message for message in self._missed if messages.prompt_id_of(message) not in again]
        self._missed.clear()
        self._tell(missed)
        if self._focus is not None:
            self._tell(self._focus.bound(**self._bounds()))
        for job in jobs:
            self._draw_again(job)

    def negotiated(self, running: Iterable[Job]) -> None:
        """It has sent its feature flags, which may decide its mode. ``running`` was told to it already."""
        self._has_flags = True
        self._turn_to_mode(running)

    def left(self, session: Session) -> bool:
        """A socket is gone, or as good as gone. Returns whether the client is away by that."""
        if self.session is not session:
            return False
        self.session = None
        self._tell(session.unsent())
        if self._focus is not None:
            self._tell(self._focus.bound(frames_most=AWAY_FRAMES_MOST, bytes_most=AWAY_BYTES_MOST))
        return True

    # jobs

    def hear(self, job_id: str, frame: Frame) -> None:
        """A frame of one of its jobs comes. Progress texts are in the long form, with the job's id."""
        if self._focus is None:
            self._tell_one(frame)
        else:
            self._tell(self._focus.hear(job_id, frame))

    def lost(self, job_id: str) -> None:
        """The job's runner is gone; the job will begin anew, or be ended."""
        if self._focus is not None:
            self._tell(self._focus.lost(job_id))

    # inside

    def _turn_to_mode(self, running: Iterable[Job]) -> None:
        """Begins or stops to tell jobs one after the other; of jobs that were told already the newest goes on."""
        if self.mode is Mode.RAW:
            focus, self._focus = self._focus, None
            if focus is not None:
                self._tell(focus.drain())
        elif self._focus is None:
            self._focus = Focus(**self._bounds())
            for job in reversed(list(running)):
                told = [frame for message in job.live.messages() for frame in self._focus.hear(job.id, message)]
                if self._focus.live != job.id:
                    self._tell(told)

    def _bounds(self) -> dict[str, int]:
        """Half of what may wait in the socket's queue: what is kept goes there in one piece."""
        return {"frames_most": self._limits.queue_frames // 2, "bytes_most": self._limits.queue_bytes // 2}

    def _draw_again(self, job: Job) -> None:
        told: list[Frame] = list(job.live.messages())
        if self._focus is not None and job.id != self._focus.live:
            if job.id in self._focus:
                return
            told = [frame for message in told for frame in self._focus.hear(job.id, message)]
        self._tell(told)
        if told and job.live.preview is not None:
            self._tell([job.live.preview])

    def _tell(self, told: Iterable[Frame]) -> None:
        for frame in told:
            self._tell_one(frame)

    def _tell_one(self, frame: Frame) -> None:
        session = self.session
        if session is not None and session.is_too_slow:
            self.left(session)
            session = None
        if session is None:
            if isinstance(frame, Message) and outlives_absence(frame):
                self._missed.append(frame)
        elif isinstance(frame, Message):
            session.send(frame)
        else:
            session.send_frame(in_form_for(session, frame))


def outlives_absence(message: Message) -> bool:
    """Whether a client that comes back has to hear of it."""
    return message.type in WORTH_KEEPING or is_end(message)


def in_form_for(session: Session, frame: bytes) -> bytes:
    """A progress text in the form that the client expects: the long one only if that was announced to it."""
    try:
        if frames.event_of(frame) == BinaryEvent.TEXT and not session.server_flags.get(LONG_TEXT_FLAG):
            text = frames.decode_progress_text(frame, has_prompt_id=True)
            return frames.progress_text_frame(frames.ProgressText(text.node_id, text.text, None))
    except FrameError:
        pass  # the session tells of what it cannot send
    return frame
