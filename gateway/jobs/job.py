"""A job and its attempts as they stand in memory while the job is alive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from gateway.comfyui import jobs_api
from gateway.comfyui.messages import Message
from gateway.comfyui.outputs import OutputFile
from gateway.jobs.changes import NONE as NO_CHANGES
from gateway.jobs.content import Content
from gateway.jobs.deflate import Part
from gateway.jobs.hooks import Hook
from gateway.jobs.states import OPEN_ATTEMPTS, AttemptState, JobState
from gateway.scheduling.lanes import Lane
from gateway.scheduling.needs import Needs
from gateway.scheduling.profile import UNKNOWN, Profile


@dataclass(frozen=True, slots=True)
class Options:
    """What else the submission said (ComfyUI server.py post_prompt), handed on to the runner as it came.

    ``tags``, ``retries`` and ``priority`` are the gateway's own, from ``extra_data.gateway``. A job that ``runs_alone``
    does not begin while a runner has another one of its client. ``weight`` is its owner's share of the pool;
    ``hooks`` are told of it.
    """

    partial_execution_targets: Any = None
    tags: tuple[str, ...] = ()
    runs_alone: bool = False
    retries: int | None = None
    priority: int = 0
    weight: float = 1.0
    hooks: tuple[Hook, ...] = ()


class Wish(StrEnum):
    """What a client has asked for that is to outlive the gateway; see ``Job.cancel_requested`` and the one below it."""

    CANCEL = "cancel"
    DELETE = "delete"


@dataclass(slots=True)
class Live:
    """What a client that comes late needs to draw a running job: the newest message of each kind."""

    start: Message | None = None
    cached: Message | None = None
    progress_state: Message | None = None
    executing: Message | None = None
    executed: list[Message] = field(default_factory=list)
    preview: bytes | None = None  # a type 4 frame

    def messages(self) -> Iterator[Message]:
        """In the order in which ComfyUI sends them."""
        for message in (self.start, self.cached, *self.executed, self.progress_state, self.executing):
            if message is not None:
                yield message


@dataclass(slots=True, eq=False)
class Attempt:
    """One time that a runner was given the job. ``runner_prompt_id`` is the id that the runner knows it by.

    ``replaced`` are the inputs that were rewritten for this runner, with what the client had written.
    """

    job: Job
    ordinal: int
    runner: str
    runner_prompt_id: str
    state: AttemptState
    created_at: int
    started_at: int | None = None
    replaced: dict[tuple[str, str], Any] = field(default_factory=dict)
    cached_nodes: set[str] = field(default_factory=set)
    outputs: dict[str, Any] = field(default_factory=dict)  # as told to the client, by node id
    untold: dict[str, Any] = field(default_factory=dict)  # outputs of nodes that may have been cached, by node id
    public_names: dict[OutputFile, OutputFile] = field(default_factory=dict)  # told of it, by the runner's own
    terminal: Message | None = None  # kept until the runner's history has the job
    boot: int | None = None  # the life of the runner's link that it was posted in; None: an earlier life of the gateway
    ahead_since: float | None = None  # monotonic seconds: its runner's books say more than its link, which is silent
    has_its_turn: bool = False  # its runner queues it by the runner's own count, not behind everything
    charged: float = 0.0  # seconds of GPU time that its owner was charged for it when it was given out
    behind: frozenset[str] = frozenset()  # prompts of its runner that must have gone before this one can begin
    is_interrupted: bool = False  # its runner has taken an interrupt of it, from a client's call or from reconciling
    is_being_withdrawn: bool = False  # its runner has been asked to give it back: no trace of it there is no loss
    has_run: bool = False  # its runner has told its end and goes on to the next one, written down or not
    is_closing: bool = False  # somebody is writing down its end
    changes: bytes = NO_CHANGES

    @property
    def is_open(self) -> bool:
        """True while the runner may have it."""
        return self.state in OPEN_ATTEMPTS

    @property
    def is_given(self) -> bool:
        """True while the runner is to have it; a probe is taken back at once."""
        return self.is_open and self.state is not AttemptState.PROBING

    @property
    def takes_a_slot(self) -> bool:
        """True when it counts against the runner's capacity."""
        return self.is_given and not self.has_run


@dataclass(slots=True, eq=False)
class Job:
    """One prompt from its submission to its end. Times are milliseconds since the epoch.

    ``secrets`` are the keys of ``extra_data`` that reach the runner and are never shown; ``sealed`` is how they are
    stored (`gateway.jobs.secrets`), and what is left of them where they could not be read again. ``was_accepted`` is
    False until a runner has validated it, or the gateway on its own checks where no runner could be asked; a job found
    after a restart has it where its client may have had a 200.
    """

    id: str
    seq: int
    number: float
    owner: str
    client_id: str | None
    content: Content
    secrets: dict[str, Any] = field(repr=False)
    options: Options
    needs: Needs
    created_at: int
    profile: Profile = UNKNOWN
    work: float = 1.0  # seconds that it is expected to take a runner of speed 1
    waits_since: float = 0.0  # monotonic seconds: since when it stands in the line
    state: JobState = JobState.SUBMITTING
    outputs_to_execute: list[str] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    refused_by: dict[str, str] = field(default_factory=dict)  # runner -> its words
    was_accepted: bool = False
    has_row: bool = False  # it is in the database
    input_failures: int = 0  # times in a row that an input file could not be had
    cancel_requested: bool = False  # to be ended whatever it does
    delete_requested: bool = False  # to be taken out of the queue unless it has begun
    reason: str = ""  # of the newest transition
    live: Live = field(default_factory=Live)
    changes: bytes = NO_CHANGES
    sealed: bytes | None = None
    workflow_id: str | None = None  # ``extra_pnginfo.workflow.id``, which /api/jobs filters by
    listed: Part | None = None  # its item of /queue, compressed, once somebody has asked for it
    _row: dict[str, Any] | None = None

    @property
    def row(self) -> dict[str, Any]:
        """Its row of /api/jobs while it waits, made once; its place in the queue is left out."""
        if self._row is None:
            extra_data = {"create_time": self.created_at, "extra_pnginfo": {"workflow": {"id": self.workflow_id}}}
            self._row = jobs_api.pending_row(self.id, self.number, extra_data)
        return self._row

    @property
    def prompt(self) -> dict[str, Any]:
        """The graph as the client sent it."""
        return self.content.prompt

    @property
    def extra_data(self) -> dict[str, Any]:
        """What the client sent beside it, without secrets."""
        return self.content.extra_data

    def is_in(self, *states: JobState) -> bool:
        """Whether the job stands in one of these states now; it may change wherever something is awaited."""
        return self.state in states

    @property
    def is_unwanted(self) -> bool:
        """True when it is not to be given to a runner any more."""
        return self.cancel_requested or self.delete_requested

    @property
    def wish(self) -> Wish | None:
        """What its client has asked for; a cancellation asks for more than a deletion."""
        if self.cancel_requested:
            return Wish.CANCEL
        return Wish.DELETE if self.delete_requested else None

    @property
    def attempt(self) -> Attempt | None:
        """The attempt under way, if there is one."""
        if self.attempts and self.attempts[-1].is_open:
            return self.attempts[-1]
        return None

    @property
    def runner(self) -> str | None:
        """The runner that has it now."""
        attempt = self.attempt
        return attempt.runner if attempt else None

    @property
    def lane(self) -> Lane | None:
        """Whose jobs it is one of; a job that ``runs_alone`` waits for the others there."""
        return (self.owner, self.client_id) if self.client_id else None

    def lost_attempts(self) -> list[Attempt]:
        """The attempts that a runner took down with it."""
        return [attempt for attempt in self.attempts if attempt.state is AttemptState.LOST]
