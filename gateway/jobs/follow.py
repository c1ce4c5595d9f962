"""Following a runner's events: which job each speaks of, what it changes, and how its client is to hear it.

Frames of one runner come in order and are told in order. An end is held back until the runner's history has it, so no
client is told of an end that it cannot read.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import replace

import structlog

from gateway.comfyui import frames, messages, outputs
from gateway.comfyui.frames import BinaryEvent, FrameError
from gateway.comfyui.messages import Message
from gateway.jobs.endings import Endings
from gateway.jobs.job import Attempt, Live
from gateway.jobs.post import history_entry
from gateway.jobs.registry import Registry
from gateway.jobs.states import AttemptState
from gateway.runners.errors import RunnerError
from gateway.runners.runner import Runner
from gateway.storage.errors import StorageError

OF_THE_RUNNER = frozenset({"logs"})  # messages that belong to no job, whatever runs
LONG_TEXT_FLAG = "supports_progress_text_metadata"
EARLY_MOST = 256  # frames kept for a job whose runner has not yet told which id it gave it

log = structlog.get_logger(__name__)


class Follower:
    """Turns what links receive into changes of jobs and messages to clients. ``on_message`` hears every message of an
    attempt as it comes."""

    def __init__(self, registry: Registry, endings: Endings) -> None:
        self._registry = registry
        self._endings = endings
        self.on_message: Callable[[Attempt, Message], None] = lambda _attempt, _message: None
        self._early: dict[str, deque[Message]] = {}
        self._in_order: defaultdict[str, _Order] = defaultdict(_Order)

    def heard(self, runner: Runner, message: Message) -> None:
        """A text frame has come, and is yet to be gone through: by an end, the runner's slot is free."""
        if messages.is_terminal(message):
            attempt = self._registry.attempt(runner.name, messages.prompt_id_of(message) or "")
            if attempt is not None and self._registry.has_run(attempt):
                self._endings.on_slot_free()

    def at_once(self, runner: Runner, message: Message) -> bool:
        """A text frame from a runner's link, unless something may have to be waited for: returns whether it was gone
        through. Nearly all are."""
        if is_followed_by_a_commit(message) or not self._in_order[runner.name].is_free:
            return False
        attempt = self._attempt_of(runner, message)
        if attempt is not None:
            self._told(attempt, message)
        return True

    async def message(self, runner: Runner, message: Message) -> None:
        """A text frame from a runner's link. Raises StorageError."""
        async with self._in_order[runner.name]:
            attempt = self._attempt_of(runner, message)
            if attempt is not None:
                await self._of_attempt(runner, attempt, message)

    def _attempt_of(self, runner: Runner, message: Message) -> Attempt | None:
        """The attempt that a message is about; None where it changes none, and has been dealt with."""
        runner_prompt_id = messages.prompt_id_of(message)
        if runner_prompt_id is None:
            self._unattributed(runner, message)
            return None
        attempt = self._registry.attempt(runner.name, runner_prompt_id)
        if attempt is None:
            self._keep_early(runner, message)
        elif attempt.is_closing:
            return None
        return attempt

    async def binary(self, runner: Runner, frame: bytes) -> None:
        """A binary frame from a runner's link: a preview with its job's id, or one that belongs to the running job."""
        try:
            event = frames.event_of(frame)
            if event == BinaryEvent.PREVIEW_IMAGE_WITH_METADATA:
                await self._preview(runner, frame)
                return
            if event == BinaryEvent.TEXT:
                self._progress_text(runner, frame)
                return
        except FrameError as error:
            log.warning("runner.bad_frame", runner=runner.name, reason=str(error))
            return
        attempt = self._registry.running_on(runner.name)
        if attempt is not None:
            attempt.ahead_since = None
            self._registry.listener.job_frame(attempt.job, frame)
        else:
            self._registry.listener.runner_frame(runner.name, frame)

    async def answered_to_another_id(self, runner: Runner, attempt: Attempt) -> None:
        """The runner has given the job an id of its own choice: what came early under that id is told now."""
        async with self._in_order[runner.name]:
            for message in self._early.pop(runner.name, deque()):
                if messages.prompt_id_of(message) == attempt.runner_prompt_id:
                    await self._of_attempt(runner, attempt, message)

    async def _of_attempt(self, runner: Runner, attempt: Attempt, message: Message) -> None:
        if _is_the_last(message):
            attempt.ahead_since = None
            self.on_message(attempt, message)
            await self._ended(runner, attempt)
        elif message.type == "executed":
            await self._output(attempt, message)
        else:
            self._told(attempt, message)

    def _told(self, attempt: Attempt, message: Message) -> None:
        """What is neither an output nor the last."""
        attempt.ahead_since = None
        self.on_message(attempt, message)
        if messages.is_terminal(message):
            attempt.terminal = messages.with_prompt_id(message, attempt.job.id)
            return
        self._begun(attempt, message)
        self._tell(attempt, messages.with_prompt_id(message, attempt.job.id))

    async def _output(self, attempt: Attempt, message: Message) -> None:
        attempt.ahead_since = None
        self.on_message(attempt, message)
        self._begun(attempt, message)
        if not _tells_whether_fresh(attempt.job.live, message):
            attempt.untold[str(message.data.get("node"))] = outputs.strip_asset_ids(message.data.get("output"))
            return  # told with the end, when the runner's history says which nodes were cached
        try:
            told = await self._executed(attempt, messages.with_prompt_id(message, attempt.job.id))
        except StorageError:  # the end tells it, also where the runner's history cannot be had by then
            attempt.untold[str(message.data.get("node"))] = outputs.strip_asset_ids(message.data.get("output"))
            raise
        if attempt.is_open:  # else lost meanwhile; or ended, and told by whoever ended it from the runner's history
            self._tell(attempt, told)

    def _begun(self, attempt: Attempt, message: Message) -> None:
        self._registry.started(attempt)
        if attempt.job.live.start is None and message.type != "execution_start":
            # The link was not there when the job began; to a client, what comes first is the start.
            self._tell(attempt, messages.execution_start(attempt.job.id, attempt.started_at or 0))

    def _tell(self, attempt: Attempt, message: Message) -> None:
        self._remember(attempt, message)
        self._registry.listener.job_message(attempt.job, message)

    async def _executed(self, attempt: Attempt, message: Message) -> Message:
        """The files of an output under their public names, without the ids that only the runner knows."""
        output = outputs.strip_asset_ids(message.data.get("output"))
        node = str(message.data.get("node"))
        found = await self._endings.public_names(attempt, {node: output})
        renamed = outputs.map_files(output, lambda file: found.get(file, file))
        if isinstance(output, dict):
            attempt.outputs[node] = output
        if renamed is message.data.get("output"):
            return message
        return messages.make("executed", {**message.data, "output": renamed})

    def _remember(self, attempt: Attempt, message: Message) -> None:
        live = attempt.job.live
        match message.type:
            case "execution_start":
                live.start = message
            case "execution_cached":
                live.cached = message
                attempt.cached_nodes.update(map(str, message.data.get("nodes") or ()))
            case "progress_state":
                live.progress_state = message
            case "executing":
                live.executing = message
            case "executed":
                live.executed.append(message)

    async def _ended(self, runner: Runner, attempt: Attempt) -> None:
        """``executing`` without a node: by now the runner's history has the job (ComfyUI main.py prompt_worker)."""
        try:
            entry = await history_entry(runner, attempt.runner_prompt_id)
        except RunnerError as error:
            log.warning("job.history_unread", job=attempt.job.id, runner=runner.name, reason=error.reason)
            runner.suspect(error.reason)
            entry = None
        if entry is None and attempt.terminal is None:
            return  # nothing tells how it ended: reconciling will find out
        await self._endings.ended_on_runner(attempt, entry)

    async def _preview(self, runner: Runner, frame: bytes) -> None:
        metadata = frames.decode_preview(frame).metadata or {}
        attempt = self._registry.attempt(runner.name, str(metadata.get("prompt_id")))
        if attempt is None:
            return
        attempt.ahead_since = None
        told = frames.with_prompt_id(frame, attempt.job.id)
        if frames.is_droppable_preview(told):
            attempt.job.live.preview = told
        self._registry.listener.job_frame(attempt.job, told)

    def _progress_text(self, runner: Runner, frame: bytes) -> None:
        """Told in the long form with the gateway's id for the job, whichever form this runner sends."""
        text = frames.decode_progress_text(frame, has_prompt_id=bool(runner.link.server_flags.get(LONG_TEXT_FLAG)))
        attempt = (
            self._registry.running_on(runner.name)
            if text.prompt_id is None
            else self._registry.attempt(runner.name, text.prompt_id)
        )
        if attempt is not None:
            attempt.ahead_since = None
            told = frames.progress_text_frame(replace(text, prompt_id=attempt.job.id))
            self._registry.listener.job_frame(attempt.job, told)

    def _unattributed(self, runner: Runner, message: Message) -> None:
        """What names no job belongs to the one that runs; ``executing`` without an id is only a reminder."""
        if message.type == "executing":
            return
        attempt = self._registry.running_on(runner.name)
        if attempt is None or message.type in OF_THE_RUNNER:
            self._registry.listener.runner_message(runner.name, message)
        else:
            self._registry.listener.job_message(attempt.job, message)

    def _keep_early(self, runner: Runner, message: Message) -> None:
        """The runner may have given a job another id than it was asked to, and begun before it answered."""
        waiting_for_answer = any(
            attempt.state in (AttemptState.POSTING, AttemptState.PROBING)
            for attempt in self._registry.attempts_on(runner.name)
        )
        if waiting_for_answer:
            self._early.setdefault(runner.name, deque(maxlen=EARLY_MOST)).append(message)


class _Order:
    """One after the other: ``async with``. It is free if nobody is in it, and nobody waits for it either."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._count = 0  # of those that are in it, or wait for it

    @property
    def is_free(self) -> bool:
        return not self._count

    async def __aenter__(self) -> None:
        self._count += 1
        try:
            await self._lock.acquire()
        except BaseException:
            self._count -= 1
            raise

    async def __aexit__(self, *_: object) -> None:
        self._count -= 1
        self._lock.release()


def is_followed_by_a_commit(message: Message) -> bool:
    """Whether going through a message may take as long as something that is stored."""
    return message.type == "executed" or _is_the_last(message)


def _is_the_last(message: Message) -> bool:
    return message.type == "executing" and message.data.get("node") is None


def _tells_whether_fresh(live: Live, message: Message) -> bool:
    """Whether it is known that the node ran in this job, or that it did not and its files are an earlier job's.

    A cached node's output comes without an ``executing`` before it (ComfyUI execution.py execute).
    """
    if live.cached is not None or not message.data.get("output"):
        return True
    return live.executing is not None and live.executing.data.get("node") == message.data.get("node")
