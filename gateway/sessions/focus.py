"""Jobs that run in parallel, told one after the other: frames in, frames out. No sockets, no time, no asyncio.

One job is *live*: its frames pass as they come. Those of the others are kept until it is their turn, so that whoever
listens hears what one ComfyUI server would tell. The *end* of a job is ``executing`` with ``node: null``.

    a frame of         while none is live       while it is live         while another one is live
    ---------------    ---------------------    ---------------------    ----------------------------------------
    preview (JPEG)     passes, it is live       passes                   dropped
    progress           passes, it is live       passes                   kept in place of the last of its kind
    anything else      passes, it is live       passes                   kept
    its end            passes                   passes, next turn        kept
    its loss           -                        next turn                what is kept of it is forgotten: never told,
                                                                         and all of it comes again
    after its end      dropped                  -                        dropped

    next turn: the kept jobs that have ended are told whole, in the order in which they began; then the oldest of the
    others is told what is kept of it, and is live.

What is kept is bounded, over all jobs, in frames and in bytes. Past the bound

    1. the kept jobs, oldest first, are thinned: left are their start, their outputs, pictures that are results (with
       the ``executing`` before each, which says whose they are) and their ends
    2. if that does not do, the turn changes at once: nothing is lost, and the bound holds. The job that was live is
       kept from then on, and what draws it again is told when its turn comes back

so that after each frame there is kept no more than the bound and four messages for each running job.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass

from gateway.comfyui import frames, messages
from gateway.comfyui.frames import BinaryEvent, FrameError
from gateway.comfyui.messages import Message

Frame = Message | bytes

PROGRESS = frozenset({"progress_state", "progress"})  # messages of which the newest says it all
TAKES_UP = ("execution_start", "execution_cached", "progress_state", "executing")  # draws a running job again
OUTPUTS = frozenset({"execution_start", "executed", *messages.TERMINAL})
ENDED_MOST = 256  # ids remembered of jobs whose end was told


class Focus:
    """What one client is told. Every method returns the frames that it is to be told now, in order."""

    def __init__(self, *, frames_most: int, bytes_most: int) -> None:
        self._frames_most = frames_most
        self._bytes_most = bytes_most
        self._live: str | None = None
        self._takes_up: dict[str, Message] = {}  # of the live job, by type
        self._kept: dict[str, _Kept] = {}
        self._total = _Total()
        self._ended: deque[str] = deque(maxlen=ENDED_MOST)

    @property
    def live(self) -> str | None:
        """The job whose turn it is."""
        return self._live

    @property
    def kept_frames(self) -> int:
        """How many frames are kept."""
        return self._total.frames

    @property
    def kept_bytes(self) -> int:
        """How many bytes are kept."""
        return self._total.bytes

    def __contains__(self, job_id: str) -> bool:
        """Whether the job is live, or something is kept of it."""
        return job_id == self._live or job_id in self._kept

    def hear(self, job_id: str, frame: Frame) -> list[Frame]:
        """A frame of a job comes."""
        if job_id not in self and job_id in self._ended:
            return []
        if self._live is None:
            self._live = job_id
        if job_id == self._live:
            self._note(frame)
            return [frame, *self._next_turn()] if is_end(frame) else [frame]
        if not (isinstance(frame, bytes) and frames.is_droppable_preview(frame)):
            self._keep(job_id, frame)
        return self._within_bounds()

    def lost(self, job_id: str) -> list[Frame]:
        """The job's runner is gone. It waits for another one, and will begin anew, or be ended."""
        self._take(job_id)
        return self._next_turn(is_over=False) if job_id == self._live else []

    def bound(self, *, frames_most: int, bytes_most: int) -> list[Frame]:
        """Other bounds hold from now on."""
        self._frames_most, self._bytes_most = frames_most, bytes_most
        return self._within_bounds()

    def drain(self) -> list[Frame]:
        """Everything that is kept, job after job; nothing is kept any more, and none is live."""
        told = [frame for job_id in list(self._kept) for frame in self._take(job_id)]
        self._live = None
        return told

    # what is kept

    def _keep(self, job_id: str, frame: Frame) -> None:
        if job_id not in self._kept:
            self._kept[job_id] = _Kept(self._total)
        self._kept[job_id].add(frame)

    def _take(self, job_id: str) -> list[Frame]:
        kept = self._kept.pop(job_id, None)
        return [] if kept is None else kept.take()

    # turns

    def _next_turn(self, *, is_over: bool = True) -> list[Frame]:
        if is_over and self._live is not None:
            self._ended.append(self._live)
        self._live = None
        self._takes_up = {}
        told = self._tell_ended()
        oldest = next(iter(self._kept), None)
        return told if oldest is None else told + self._begin_turn(oldest)

    def _tell_ended(self) -> list[Frame]:
        told: list[Frame] = []
        for job_id in [job_id for job_id, kept in self._kept.items() if kept.has_ended]:
            told += self._take(job_id)
            self._ended.append(job_id)
        return told

    def _begin_turn(self, job_id: str) -> list[Frame]:
        told = self._take(job_id)
        self._live = job_id
        self._takes_up = {}
        for frame in told:
            self._note(frame)
        return told

    def _note(self, frame: Frame) -> None:
        """Remembers of the live job what would draw it again."""
        if isinstance(frame, bytes) or frame.type not in TAKES_UP:
            return
        if frame.type == "execution_start":
            self._takes_up.clear()
        self._takes_up[frame.type] = frame

    # bounds

    def _is_over(self) -> bool:
        return self.kept_frames > self._frames_most or self.kept_bytes > self._bytes_most

    def _within_bounds(self) -> list[Frame]:
        for kept in self._kept.values():
            if not self._is_over():
                return []
            kept.thin()
        return self._change_turns() if self._is_over() else []

    def _change_turns(self) -> list[Frame]:
        """Tells what has ended; and of the others those of which most is kept, until the rest is within the bounds."""
        interrupted = self._live
        others = sorted(self._kept, key=lambda job_id: self._kept[job_id].size, reverse=True)
        self._step_back()
        told = self._tell_ended()
        if not self._is_over() and interrupted is not None:
            return told + self._begin_turn(interrupted)
        for job_id in others:
            if job_id in self._kept and self._is_over():
                self._step_back()
                told += self._begin_turn(job_id)
        if self._live is None:
            told += self._begin_turn(next(iter(self._kept)))
        return told

    def _step_back(self) -> None:
        """The live job becomes the last one of those that are kept."""
        if self._live is not None:
            for kind in TAKES_UP:
                if kind in self._takes_up:
                    self._keep(self._live, self._takes_up[kind])
        self._live = None


@dataclass(slots=True)
class _Total:
    """What is kept of all jobs."""

    frames: int = 0
    bytes: int = 0


class _Kept:
    """The frames of one job that wait for its turn. Progress has one place for each kind: the newest one's."""

    def __init__(self, total: _Total) -> None:
        self.size = 0  # bytes
        self.has_ended = False
        self._total = total
        self._frames: dict[Hashable, Frame] = {}
        self._count = 0
        self._is_thin = False

    def add(self, frame: Frame) -> None:
        """Keeps one more."""
        place = _progress_place(frame)
        if place is None:
            place, self._count = self._count, self._count + 1
        elif place in self._frames:
            self._counted(-1, -_size(self._frames.pop(place)))
        self._frames[place] = frame
        self._counted(1, _size(frame))
        self.has_ended = self.has_ended or is_end(frame)
        self._is_thin = False

    def take(self) -> list[Frame]:
        """Everything; it is kept no longer."""
        taken = list(self._frames.values())
        self._frames = {}
        self._counted(-len(taken), -self.size)
        return taken

    def thin(self) -> None:
        """Forgets what is neither an output nor an end."""
        if self._is_thin:
            return
        for frame in _essential(self.take()):
            self.add(frame)
        self._is_thin = True

    def _counted(self, frames_more: int, bytes_more: int) -> None:
        self.size += bytes_more
        self._total.frames += frames_more
        self._total.bytes += bytes_more


def is_end(frame: Frame) -> bool:
    """Whether it is the last frame of its job."""
    return isinstance(frame, Message) and frame.type == "executing" and frame.data.get("node") is None


def _progress_place(frame: Frame) -> Hashable | None:
    """What the frame replaces when it is kept: the last one of the same place. None: nothing."""
    if isinstance(frame, Message):
        return frame.type if frame.type in PROGRESS else None
    try:
        if frames.event_of(frame) == BinaryEvent.TEXT:
            return ("text", frames.decode_progress_text(frame, has_prompt_id=True).node_id)
    except FrameError:
        pass
    return None


def _essential(kept: Iterable[Frame]) -> Iterator[Frame]:
    executing: Message | None = None
    for frame in kept:
        if isinstance(frame, Message) and frame.type == "executing" and not is_end(frame):
            executing = frame
        elif isinstance(frame, Message):
            if frame.type in OUTPUTS or is_end(frame):
                yield frame
        elif _progress_place(frame) is None:
            if executing is not None:
                yield executing
                executing = None
            yield frame


def _size(frame: Frame) -> int:
    return len(frame if isinstance(frame, bytes) else frame.text)
