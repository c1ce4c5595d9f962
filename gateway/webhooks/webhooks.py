"""Webhooks as the other rooms see them: messages are made where jobs change, written with the change, and delivered.

It is the jobs room's Scribe and one of its Watchers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import structlog
from yarl import URL

from gateway.clock import DAY_MS, Clock
from gateway.comfyui import json_text
from gateway.comfyui.messages import Message
from gateway.config.webhooks import WebhooksConfig
from gateway.jobs.hooks import Event, Hook
from gateway.jobs.job import Attempt, Job
from gateway.jobs.registry import Registry
from gateway.jobs.states import ENDS, AttemptState, JobState
from gateway.jobs.terms import Terms
from gateway.runners.addresses import EndpointRules
from gateway.storage import webhooks as rows
from gateway.storage.database import Database, Operation
from gateway.storage.sealing import Seal
from gateway.storage.webhooks import DeliveryRow
from gateway.storage.workflows import WorkflowRow
from gateway.webhooks import messages
from gateway.webhooks.deliverer import Deliverer
from gateway.webhooks.messages import EVENT_OF
from gateway.webhooks.progress import Tracker
from gateway.webhooks.retries import DeliveryState
from gateway.webhooks.secrets import SigningSecrets
from gateway.webhooks.sender import Sender

PURPOSE: Final = "webhook secrets"
SWEEP_SECONDS: Final = 600.0  # between two looks for what is too old for the log

log = structlog.get_logger(__name__)


class Webhooks:
    """The webhooks of all jobs.

    Args:
        key: the gateway's own; secrets are sealed with it.
        rules: which addresses receivers may have (`endpoints.webhook`).
    """

    def __init__(
        self,
        db: Database,
        registry: Registry,
        clock: Clock,
        *,
        config: WebhooksConfig,
        rules: EndpointRules,
        key: bytes,
    ) -> None:
        self.secrets = SigningSecrets(db, clock, Seal(key, PURPOSE))
        self._db = db
        self._registry = registry
        self._clock = clock
        self._config = config
        self._sender = Sender(config, rules, self.secrets, clock)
        self._deliverer = Deliverer(db, self._sender, config, clock)
        self._tracker = Tracker(clock, config.progress_seconds, self._progressed)
        self._seq = 0
        self._introduced: set[str] = set()  # live jobs of which it was told that they were created
        self._sweeping: asyncio.Task[None] | None = None
        self._outbox: tuple[int, int | None] = 0, None
        registry.scribe = self
        registry.watchers.append(self)

    async def load(self) -> None:
        """Before the jobs room starts: goes on counting where an earlier life stopped. Raises StorageError."""
        self._seq = await rows.highest_seq(self._db)
        self._introduced = await rows.introduced(self._db, Event.CREATED)

    async def start(self) -> None:
        """Delivers from now on. Raises StorageError."""
        await self._deliverer.start()
        self._sweeping = asyncio.create_task(self._sweep(), name="webhooks sweep")

    async def close(self) -> None:
        """Delivers no more; what is not delivered yet, the next life delivers."""
        self._tracker.close()
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
        await self._deliverer.close()
        await self._sender.close()

    @property
    def waiting(self) -> int:
        """How many deliveries wait in memory."""
        return self._deliverer.waiting

    # what is told of all of them

    @property
    def ended(self) -> Mapping[DeliveryState, int]:
        """How many deliveries have ended in this life, by how."""
        return self._deliverer.ended

    @property
    def failed_tries(self) -> int:
        """How many tries of this life were in vain."""
        return self._deliverer.failed_tries

    async def look_at_outbox(self) -> None:
        """Counts what is not delivered yet, for ``outbox``. Raises StorageError."""
        self._outbox = await rows.outbox(self._db)

    @property
    def outbox(self) -> tuple[int, float]:
        """How many deliveries waited at the last look, and the age of the oldest in seconds."""
        count, oldest = self._outbox
        return count, 0.0 if oldest is None else max(0, self._clock.wall_ms() - oldest) / 1_000

    # the log

    async def listed(
        self, *, owner: str | None, job_id: str | None, states: Collection[str], before: int | None, limit: int
    ) -> Sequence[DeliveryRow]:
        """Deliveries of an owner, or with None of everyone, the newest first. Raises StorageError."""
        await self._db.flushed()
        return await rows.listed(self._db, owner=owner, job_id=job_id, states=states, before=before, limit=limit)

    async def find(self, delivery_id: str) -> DeliveryRow | None:
        """One delivery. Raises StorageError."""
        await self._db.flushed()
        return await rows.find(self._db, delivery_id)

    async def replay(self, delivery: DeliveryRow, replay_id: str) -> DeliveryRow:
        """Delivers a message once more, by itself, as a delivery of that id. Raises StorageError."""
        made = replace(
            delivery,
            id=replay_id,
            line=replay_id,
            seq=self._next_seq(),
            created_at=self._clock.wall_ms(),
            state=rows.PENDING,
            attempts=0,
            next_at=None,
            ended_at=None,
            status=None,
            error=None,
        )
        await self._db.write(rows.add(made))
        self._deliverer.put([replace(made)])
        return made

    # Scribe

    def beside(
        self, job: Job, becomes: JobState, entry: Mapping[str, Any] | None = None, *, certain: bool = True
    ) -> Sequence[Operation]:
        """See Scribe."""
        if not job.options.hooks:
            return ()
        told = self._told(job, becomes, certain=certain)
        made = [self._delivery(job, hook, event, entry) for event in told for hook in _of(job, event)]
        if certain:
            if Event.CREATED in told:
                self._introduced.add(job.id)
            if becomes in ENDS:
                self._introduced.discard(job.id)
            self._deliverer.put(made)
        ends = [rows.supersede(delivery.line, Event.PROGRESS) for delivery in made if becomes in ENDS]
        return [*ends, *map(rows.add, made)]

    def refused(self, row: WorkflowRow, kind: str, words: str) -> Sequence[Operation]:
        """What is to be written with the refusal of a workflow, which never had a job; its creator has its 201."""
        hooks = Terms.of_json(json_text.loads(row.terms)).hooks
        now = self._clock.wall_ms()
        made = [
            self._row(row.id, row.owner, hook, Event.FAILED, 0, messages.refused_body(row, kind, words, now))
            for hook in hooks
            if Event.FAILED in hook.events
        ]
        self._deliverer.put(made)
        return [rows.add(delivery) for delivery in made]

    def _told(self, job: Job, becomes: JobState, *, certain: bool) -> list[Event]:
        """What a change of state is told as; a job that was never promised to anybody is not told of."""
        is_promised = job.was_accepted or not certain or becomes in (JobState.RUNNING, JobState.COMPLETED)
        told = []
        if job.id not in self._introduced:
            if not is_promised:
                return []
            told.append(Event.CREATED)
        if becomes in EVENT_OF:
            told.append(EVENT_OF[becomes])
        return told

    def _delivery(
        self,
        job: Job,
        hook: Hook,
        event: Event,
        entry: Mapping[str, Any] | None,
        progress: Mapping[str, Any] | None = None,
    ) -> DeliveryRow:
        ordinal = {Event.STARTED: len(job.attempts), Event.PROGRESS: self._seq + 1}.get(event, 0)
        body = messages.body(
            job,
            event,
            self._clock.wall_ms(),
            entry=entry,
            progress=progress,
            queue_remaining=self._registry.remaining_of(job.owner),
            base=self._config.public_url or "",
        )
        return self._row(job.id, job.owner, hook, event, ordinal, body)

    def _row(self, job_id: str, owner: str, hook: Hook, event: Event, ordinal: int, body: bytes) -> DeliveryRow:
        message_id = messages.message_id(job_id, hook.url, event, ordinal)
        return DeliveryRow(
            id=message_id,
            seq=self._next_seq(),
            message_id=message_id,
            line=messages.line_of(job_id, hook.url),
            target=str(URL(hook.url, encoded=True).origin()),
            job_id=job_id,
            owner=owner,
            url=hook.url,
            event=event.value,
            created_at=self._clock.wall_ms(),
            body=body,
        )

    def _next_seq(self) -> int:
        self._seq += 1
        return self._seq

    # progress

    def heard(self, attempt: Attempt, message: Message) -> None:
        """A message of a job's runner, as it comes."""
        if attempt.job.options.hooks and any(_of(attempt.job, Event.PROGRESS)):
            self._tracker.heard(attempt.job, message)

    def _progressed(self, job: Job, progress: Mapping[str, Any]) -> None:
        if job.state is not JobState.RUNNING:
            return
        made = [self._delivery(job, hook, Event.PROGRESS, None, progress) for hook in _of(job, Event.PROGRESS)]
        olds = [rows.supersede(delivery.line, Event.PROGRESS) for delivery in made]
        self._db.write_behind(*olds, *map(rows.add, made))
        self._deliverer.put(made)

    # Watcher

    def job_turned(self, job: Job, was: JobState) -> None:
        """See Watcher."""
        if job.options.hooks and job.state is not JobState.RUNNING:
            self._tracker.forget(job.id)
        if job.state is JobState.REFUSED:
            self._introduced.discard(job.id)

    def attempt_turned(self, attempt: Attempt, was: AttemptState, reason: str) -> None:
        """See Watcher."""

    # the log's end

    async def _sweep(self) -> None:
        while True:
            self._db.write_behind(rows.forget(self._clock.wall_ms() - round(self._config.retention_days * DAY_MS)))
            await asyncio.sleep(SWEEP_SECONDS)


def _of(job: Job, event: Event) -> list[Hook]:
    return [hook for hook in job.options.hooks if event in hook.events]
