"""How jobs end, each exactly once: by their runner, by losing it, by refusal, or by being dropped while they wait.

The order of an end, so that a client never hears of one that it cannot ask for:

    1. the files get their public names, committed
    2. history entry and state are committed
    3. the slot is free for the next job, if it was not when its runner told the end (`hearing`)
    4. the client is told: what it missed, the terminal message, the queue's length, ``executing`` with ``node: null``
    5. that it was told is written down, once the last message is with its socket; until then a restart tells it again
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import structlog

from gateway.clock import Clock
from gateway.comfyui import apart, graph, history, jobs_api, json_text, messages, outputs
from gateway.comfyui.messages import Message
from gateway.comfyui.outputs import OutputFile
from gateway.files.outputs import OutputNames
from gateway.jobs import retold
from gateway.jobs.history import Ended, History
from gateway.jobs.job import Attempt, Job, Live
from gateway.jobs.owners import HOUSE
from gateway.jobs.registry import Registry
from gateway.jobs.states import AttemptState, JobState
from gateway.storage import jobs as job_rows
from gateway.storage.database import Database
from gateway.storage.errors import StorageError
from gateway.tasks import kept

UNSTARTED_LOSSES_MOST = 10  # times that a job may be lost by a runner that had not begun it
OUT_OF_MEMORY = "OutOfMemoryError"  # torch's, in whichever module it lives (torch, torch.cuda)
LINK_TELLS_SECONDS = 10.0  # of silence: what a runner's history has ahead of its link may come behind a large frame

log = structlog.get_logger(__name__)


class Endings:
    """Writes down the ends of jobs and tells them.

    ``could_go_elsewhere`` tells whether a job could be given to another runner than the one named. ``on_slot_free`` is
    called whenever a runner's slot or the waiting line changed by it, ``on_files`` with the owner
    and the public names of the files of a job that has ended.
    """

    def __init__(
        self,
        registry: Registry,
        past: History,
        names: OutputNames,
        db: Database,
        clock: Clock,
        *,
        retries: int,
        poison_after_runners: int,
        retry_out_of_memory: bool = False,
    ) -> None:
        self.could_go_elsewhere: Callable[[Job, str], bool] = lambda _job, _runner: False
        self.on_slot_free: Callable[[], None] = lambda: None
        self.on_files: Callable[[str, Iterable[OutputFile]], None] = lambda _owner, _files: None
        self._registry = registry
        self._past = past
        self._names = names
        self._db = db
        self._clock = clock
        self._retries = retries
        self._poison_after = poison_after_runners
        self._retry_out_of_memory = retry_out_of_memory
        self._under_way: set[asyncio.Task[None]] = set()

    async def ended_on_runner(self, attempt: Attempt, entry: dict[str, Any] | None) -> None:
        """The runner has ended the job; ``entry`` is its history of it, None where it cannot be had any more.

        Told twice, the second time changes nothing. It goes on to its end when its caller is cancelled, as by a link
        that closes. Raises StorageError: the end is not written down yet.
        """
        if not attempt.is_open or attempt.is_closing:
            return
        attempt.is_closing = True
        ending = self._ended_on_runner(attempt, entry)
        await asyncio.shield(kept(ending, self._under_way, name=f"end of {attempt.job.id}"))

    async def settled(self) -> None:
        """Returns once every end that has begun to be written down is written and told, or has failed to be."""
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _ended_on_runner(self, attempt: Attempt, entry: dict[str, Any] | None) -> None:
        job = attempt.job
        self._registry.started(attempt)
        if entry is None:
            entry = self._entry_from_events(attempt)
        if self._is_to_be_retried(attempt, entry):
            self._retry_elsewhere(attempt)
            return
        try:
            told = await self._as_ours(attempt, entry)
        except StorageError:
            attempt.is_closing = False  # reconciling comes back to it
            raise
        terminal = attempt.terminal or retold.terminal_of(told, job.id) or self._interrupted(job)
        missed = list(self._missed(attempt, told))
        self._registry.turn_attempt(attempt, AttemptState.ENDED, terminal.type)
        await self._end(job, _state_of(told), told, attempt.runner, terminal.type)
        self._tell_end(job, [*missed, terminal])
        self.on_files(job.owner, outputs.files(told["outputs"]))

    async def found_ended(self, attempt: Attempt, entry: dict[str, Any] | None, *, link_stood: bool) -> bool:
        """The runner's history has the job, and the link has not told its end.

        A link that has stood since the job was posted is given time to: the history is ahead of it, and the client is
        to hear what else is on its way. After a silence about the job the frames are taken for lost, and True is
        returned: the link is deaf. Raises StorageError.
        """
        is_deaf = link_stood and self._is_overdue(attempt)
        if link_stood and not is_deaf:
            return False
        await self.ended_on_runner(attempt, entry)
        return is_deaf

    def misses_start(self, attempt: Attempt, *, link_stood: bool) -> bool:
        """The runner says that it runs the job. True when a link that has stood since it was posted should have told
        its start by now: the link is deaf."""
        if attempt.job.live.start is not None:
            attempt.ahead_since = None
            return False
        return link_stood and self._is_overdue(attempt)

    def _is_overdue(self, attempt: Attempt) -> bool:
        now = self._clock.monotonic()
        if attempt.ahead_since is None:
            attempt.ahead_since = now
        return now - attempt.ahead_since >= LINK_TELLS_SECONDS

    def lost(self, attempt: Attempt, reason: str) -> None:
        """The runner is gone, or has no trace of the job: it is retried on another one, as often as it may be."""
        if not attempt.is_open or attempt.is_closing:
            return
        job = attempt.job
        self._registry.turn_attempt(attempt, AttemptState.LOST, reason)
        log.warning("job.lost", job=job.id, runner=attempt.runner, attempt=attempt.ordinal, reason=reason)
        if job.state is JobState.SUBMITTING:
            return  # whoever submits it goes on from here
        begun = [lost for lost in job.lost_attempts() if lost.started_at is not None]
        if job.is_unwanted and not begun:
            self.dropped(job, "cancelled before it began")
        elif job.cancel_requested:
            self.interrupted(job, "cancelled; its runner was lost")
        elif len({lost.runner for lost in begun}) >= self._poison_after and len(begun) > 1:
            runners = ", ".join(sorted({lost.runner for lost in begun}))
            self.failed(job, "PoisonPrompt", f"The prompt has taken down {runners}; it is not tried again.")
        elif len(begun) > self._retries_of(job):
            self.failed(
                job, "RunnerLost", f"Lost with its runner {len(begun)} times; last on {attempt.runner}: {reason}"
            )
        elif len(job.lost_attempts()) > self._retries_of(job) + UNSTARTED_LOSSES_MOST:
            self.failed(
                job, "RunnerLost", f"Runners took it and lost it again and again; last {attempt.runner}: {reason}"
            )
        else:
            job.live = Live()
            self._registry.listener.job_lost(job)
            self._registry.turn(job, JobState.PENDING, f"{attempt.runner}: {reason}")

    def moved(self, attempt: Attempt, reason: str) -> None:
        """The operator takes a job from its runner: it waits for another one, as if it had never been given out."""
        if not attempt.is_open or attempt.is_closing:
            return
        job = attempt.job
        self._registry.turn_attempt(attempt, AttemptState.MOVED, reason)
        log.info("job.moved", job=job.id, runner=attempt.runner, attempt=attempt.ordinal, reason=reason)
        if job.state is JobState.SUBMITTING:
            return  # whoever submits it goes on from here
        if job.is_unwanted and attempt.started_at is None:
            self.dropped(job, "cancelled before it began")
        elif job.cancel_requested:
            self.interrupted(job, "cancelled; it was taken from its runner")
        else:
            job.live = Live()
            self._registry.listener.job_lost(job)
            self._registry.turn(job, JobState.PENDING, f"{attempt.runner}: {reason}")

    def failed(self, job: Job, exception_type: str, message: str) -> None:
        """The gateway ends the job: no runner will."""
        error = messages.execution_error(
            job.id,
            exception_type=exception_type,
            exception_message=message,
            timestamp=self._clock.wall_ms(),
        )
        self._end_by_gateway(job, JobState.FAILED, error, message)

    def interrupted(self, job: Job, reason: str) -> None:
        """The gateway ends a job that was to be interrupted, because its runner cannot any more."""
        self._end_by_gateway(job, JobState.CANCELLED, self._interrupted(job), reason)

    def dropped(self, job: Job, reason: str) -> None:
        """A job that had not begun is gone without a trace, as from ComfyUI's queue: no event, no history.

        One that had begun on a runner that was lost is ended as interrupted: its client has heard its start.
        """
        self.all_dropped([job], reason)

    def all_dropped(self, jobs: Iterable[Job], reason: str) -> None:
        """As ``dropped``; the new length of the queue is told once to each owner, and slots are filled once."""
        owners: dict[str, None] = {}
        for job in jobs:
            self._drop(job, reason)
            owners[job.owner] = None
        for owner in owners:
            self._registry.listener.queue_changed(owner)
        self.on_slot_free()

    def _drop(self, job: Job, reason: str) -> None:
        if any(attempt.started_at is not None for attempt in job.attempts):
            self.interrupted(job, reason)
            return
        self._registry.turn(job, JobState.CANCELLED, reason)
        end = {"state": JobState.CANCELLED.value, "ended_at": self._clock.wall_ms(), "reason": reason, "secrets": None}
        self._db.write_behind(
            job_rows.update_job(job.id, **end, changes=job.changes, hidden=True, told=True),
            *self._registry.scribe.beside(job, JobState.CANCELLED),
        )

    def forgotten(self, job: Job, reason: str) -> None:
        """A job whose client never had an answer turns out to be invalid: as if it had never been submitted."""
        self._registry.turn(job, JobState.CANCELLED, reason)
        self._db.write_behind(job_rows.delete_job(job.id), *self._registry.scribe.beside(job, JobState.FAILED))
        self._registry.listener.queue_changed(job.owner)
        self.on_slot_free()

    # running out of memory

    def _retries_of(self, job: Job) -> int:
        return self._retries if job.options.retries is None else job.options.retries

    def _is_to_be_retried(self, attempt: Attempt, entry: dict[str, Any]) -> bool:
        """A node's exception is an answer, unless it says that this GPU is too small and another one could do."""
        job = attempt.job
        terminal = attempt.terminal or retold.terminal_of(entry, job.id)
        kind = terminal.data.get("exception_type") if terminal is not None else None
        if not self._retry_out_of_memory or str(kind).rpartition(".")[2] != OUT_OF_MEMORY or job.is_unwanted:
            return False
        before = sum(each.state is AttemptState.ENDED for each in job.attempts)
        return before < self._retries_of(job) and self.could_go_elsewhere(job, attempt.runner)

    def _retry_elsewhere(self, attempt: Attempt) -> None:
        job, reason = attempt.job, f"{attempt.runner} ran out of memory"
        log.warning("job.out_of_memory", job=job.id, runner=attempt.runner, attempt=attempt.ordinal)
        self._registry.turn_attempt(attempt, AttemptState.ENDED, reason)
        job.refused_by[attempt.runner] = reason
        job.live = Live()
        self._registry.listener.job_lost(job)
        self._registry.turn(job, JobState.PENDING, reason)
        self.on_slot_free()

    # what an end is made of

    async def _as_ours(self, attempt: Attempt, entry: dict[str, Any]) -> dict[str, Any]:
        job = attempt.job
        attempt.cached_nodes.update(_cached_nodes(entry))  # the link may have missed which
        found = await self.public_names(attempt, entry.get("outputs") or {})
        prompt = entry["prompt"][2] if len(entry.get("prompt") or ()) > 2 else job.prompt
        return history.rewrite_entry(
            entry,
            prompt_id=job.id,
            number=job.number,
            prompt=_as_sent(attempt, prompt),
            extra_data=client_extra_data(job),
            rename=lambda file: found.get(file, file),
        )

    async def public_names(self, attempt: Attempt, by_node: dict[str, Any]) -> dict[OutputFile, OutputFile]:
        """The public names of the files in outputs by node id, given out and committed where they had none.

        A file that this attempt has told before keeps that name, whatever the runner's file has become meanwhile.
        """
        for fresh in (True, False):
            files = [
                file
                for node, output in by_node.items()
                if (str(node) not in attempt.cached_nodes) is fresh
                for file in outputs.files(output)
                if file not in attempt.public_names
            ]
            if files:
                public = await self._names.assign_all(
                    attempt.job.id,
                    attempt.runner,
                    files,
                    fresh=fresh,
                    owner=attempt.job.owner,
                    since=attempt.created_at,
                )
                attempt.public_names.update(zip(files, public, strict=True))
        return attempt.public_names

    def _entry_from_events(self, attempt: Attempt) -> dict[str, Any]:
        """What the runner's history would have said, from what its events did: files under the runner's names."""
        job = attempt.job
        told = [job.live.start, job.live.cached, attempt.terminal or self._interrupted(job)]
        return history.made_entry(
            job.number,
            job.id,
            job.prompt,
            client_extra_data(job),
            job.outputs_to_execute,
            {**attempt.untold, **attempt.outputs},
            [_with_timestamp(message, self._clock) for message in told if message is not None],
            {},
            attempt.terminal is not None and attempt.terminal.type == "execution_success",
        )

    def _missed(self, attempt: Attempt, told: dict[str, Any]) -> list[Message]:
        """The start and the outputs that the client has not heard of, because the link was down."""
        job = attempt.job
        found = []
        if job.live.start is None:
            found += [
                messages.make(str(kind), data)
                for kind, data in told["status"].get("messages", [])
                if kind in ("execution_start", "execution_cached")
            ]
        return [*found, *retold.outputs_of(told, job.id, but=attempt.outputs)]

    def _interrupted(self, job: Job) -> Message:
        return messages.execution_interrupted(job.id, timestamp=self._clock.wall_ms())

    def _end_by_gateway(self, job: Job, state: JobState, terminal: Message, reason: str) -> None:
        told = [message for message in (job.live.start, job.live.cached, terminal) if message is not None]
        entry = history.made_entry(
            job.number,
            job.id,
            job.prompt,
            client_extra_data(job),
            job.outputs_to_execute,
            {},
            [_with_timestamp(message, self._clock) for message in told],
            {},
            False,
        )
        last = job.attempts[-1].runner if job.attempts else None
        self._record(job, state, entry, last, reason)
        telling = asyncio.create_task(self._tell_when_stored(job, terminal), name=f"end {job.id}")
        self._under_way.add(telling)
        telling.add_done_callback(self._under_way.discard)

    async def _tell_when_stored(self, job: Job, terminal: Message) -> None:
        await self._stored(job)
        self._tell_end(job, [terminal])

    async def _end(self, job: Job, state: JobState, entry: dict[str, Any], runner: str, reason: str) -> None:
        self._record(job, state, entry, runner, reason)
        await self._stored(job)

    async def _stored(self, job: Job) -> None:
        try:
            await self._db.flushed()
        except StorageError as error:
            # The write stays queued and is tried again; after a crash the runner's own history tells the end once more.
            log.error("job.end_not_yet_stored", job=job.id, reason=str(error))

    def _record(self, job: Job, state: JobState, entry: dict[str, Any], runner: str | None, reason: str) -> None:
        entry["prompt"][0] = self._past.number_for(job.number)
        text = json_text.dumps(entry).encode()
        row = jobs_api.from_history(entry, job.id)
        self._registry.turn(job, state, reason)
        self._past.add(Ended(job.id, job.owner, runner, row), text)
        self._db.write_behind(
            job_rows.update_job(
                job.id,
                state=state.value,
                ended_at=self._past.end_time(self._clock.wall_ms()),
                entry=text,
                summary=json_text.dumps(row).encode(),
                reason=reason or None,
                changes=job.changes,
                runner=runner,
                told=job.client_id is None,
                hidden=job.owner == HOUSE,
                wish=None,
                secrets=None,
            ),
            *self._registry.scribe.beside(job, state, entry),
        )
        self.on_slot_free()

    def _tell_end(self, job: Job, ends: list[Message]) -> None:
        listener = self._registry.listener
        for message in ends:
            listener.job_message(job, message)
        listener.queue_changed(job.owner)
        listener.job_message(job, messages.executing(None, job.id))


def _as_sent(attempt: Attempt, prompt: Any) -> Any:
    """A runner's graph with the client's own inputs where they were rewritten for this runner; which these were, an
    earlier life of the gateway has not told."""
    job = attempt.job
    is_from_earlier = attempt.boot is None
    replaced = graph.changed_files(job.prompt, prompt) if is_from_earlier else attempt.replaced
    return graph.replace_inputs(apart.unmarked(prompt) if job.owner else prompt, replaced)


def client_extra_data(job: Job) -> dict[str, Any]:
    """The job's ``extra_data`` as its client sees it: with its own ``client_id``, without secrets."""
    return job.extra_data if job.client_id is None else {**job.extra_data, "client_id": job.client_id}


def _state_of(entry: dict[str, Any]) -> JobState:
    status = entry.get("status") or {}
    if status.get("status_str") != "error":
        return JobState.COMPLETED
    kinds = {kind for kind, _ in status.get("messages") or ()}
    return JobState.CANCELLED if "execution_interrupted" in kinds else JobState.FAILED


def _cached_nodes(entry: dict[str, Any]) -> set[str]:
    told = (entry.get("status") or {}).get("messages") or ()
    return {str(node) for kind, data in told if kind == "execution_cached" for node in data.get("nodes") or ()}


def _with_timestamp(message: Message, clock: Clock) -> Message:
    if "timestamp" in message.data:
        return message
    return messages.make(message.type, {**message.data, "timestamp": clock.wall_ms()})
