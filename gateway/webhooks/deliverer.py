"""Delivers what is in the outbox: several receivers at a time, each with bounds of its own, each line in order.

1. a delivery is taken in once its transaction is committed, or found at the start
2. it is tried when it is the first of its line, due, and its receiver and the whole have a slot free
3. what came of it is noted (`retries`): the same one is due later, or the next of its line once that is committed
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine, Iterable
from typing import Any, Final

import structlog

from gateway.clock import Clock
from gateway.config.webhooks import WebhooksConfig
from gateway.storage import webhooks as rows
from gateway.storage.database import Database
from gateway.storage.errors import StorageError
from gateway.storage.webhooks import DeliveryRow
from gateway.webhooks.lines import IN_MEMORY_MOST, UNREACHABLE_MOST, Target
from gateway.webhooks.retries import DeliveryState, Outcome, after
from gateway.webhooks.sender import Sender

STORAGE_PAUSE_SECONDS: Final = 1.0
CLOSING_SECONDS: Final = 2.0  # for tries under way to end
LOADED_AT_ONCE: Final = IN_MEMORY_MOST // 2

log = structlog.get_logger(__name__)


class Deliverer:
    """Tries deliveries until they have ended. ``ended`` counts them by how, ``failed_tries`` the tries in vain."""

    def __init__(self, db: Database, sender: Sender, config: WebhooksConfig, clock: Clock) -> None:
        self.ended: Counter[DeliveryState] = Counter({DeliveryState.DELIVERED: 0, DeliveryState.GIVEN_UP: 0})
        self.failed_tries = 0
        self._db = db
        self._sender = sender
        self._config = config
        self._clock = clock
        self._targets: dict[str, Target] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._starved: dict[str, None] = {}  # receivers that have something due while every slot is taken
        self._busy = 0
        self._fresh: list[DeliveryRow] = []
        self._fresh_came = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_open = False

    async def start(self) -> None:
        """Takes up what an earlier life has left. Raises StorageError."""
        self._is_open = True
        highest = await rows.highest_seq(self._db)
        for name in await rows.targets(self._db):
            target = self._target(name)
            target.left_on_disk = highest
            self._pump(target)
        self._spawn(self._take_in(), "webhooks take in")

    async def close(self) -> None:
        """Tries no more. What is under way may end; what does not, the next life tries again."""
        self._is_open = False
        for timer in self._timers.values():
            timer.cancel()
        self._fresh_came.set()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSING_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def waiting(self) -> int:
        """How many deliveries are in memory."""
        return len(self._fresh) + sum(target.size for target in self._targets.values())

    def put(self, deliveries: Iterable[DeliveryRow]) -> None:
        """Takes in deliveries whose rows have been queued to be written, in order."""
        self._fresh += deliveries
        self._fresh_came.set()

    # taking in

    async def _take_in(self) -> None:
        """Nothing is delivered before it is committed: a receiver must not know of what a crash could undo."""
        while self._is_open:
            await self._fresh_came.wait()
            self._fresh_came.clear()
            fresh, self._fresh = self._fresh, []
            if not await self._committed():
                return
            touched = dict.fromkeys(delivery.target for delivery in fresh)
            for delivery in fresh:
                self._target(delivery.target).put(delivery, self._due(delivery))
            for name in touched:
                self._pump(self._target(name))

    async def _committed(self) -> bool:
        """Returns once all that was queued is committed; False when the gateway is stopping."""
        while self._is_open:
            try:
                await self._db.flushed()
                return True
            except StorageError:  # the database tells of it itself; the rows stay queued
                await asyncio.sleep(STORAGE_PAUSE_SECONDS)
        return False

    def _target(self, name: str) -> Target:
        return self._targets.setdefault(name, Target(name))

    def _due(self, delivery: DeliveryRow) -> float:
        """Monotonic seconds; a clock that was set back makes nothing wait longer than the longest pause."""
        wait = max(0, (delivery.next_at or 0) - self._clock.wall_ms()) / 1_000
        return self._clock.monotonic() + min(wait, self._config.longest_retry_seconds)

    async def _load(self, target: Target) -> None:
        """Reads what was left on disk, as much as there is room for."""
        try:
            upto = target.left_on_disk
            if not await self._committed():
                return
            found = await rows.load_pending(self._db, target.name, after=target.loaded_to, limit=LOADED_AT_ONCE)
            for delivery in found:
                target.load(delivery, self._due(delivery))
            if len(found) < LOADED_AT_ONCE and target.left_on_disk == upto:
                target.loaded_to = max(target.loaded_to, upto)
                target.left_on_disk = 0
        except StorageError as error:
            log.error("webhook.not_read", target=target.name, reason=str(error))
            await asyncio.sleep(STORAGE_PAUSE_SECONDS)
        finally:
            target.is_loading = False
        self._pump(target)

    # trying

    def _pump(self, target: Target) -> None:
        """Begins what is due and has a slot."""
        if not self._is_open:
            return
        timer = self._timers.pop(target.name, None)
        if timer is not None:
            timer.cancel()
        if target.wants_more:
            target.is_loading = True
            self._spawn(self._load(target), f"webhooks load {target.name}")
        most = 1 if target.unreachable >= UNREACHABLE_MOST else self._config.at_once_per_host
        while (due := target.next_due()) is not None and target.busy < most:
            wait = due - self._clock.monotonic()
            if wait > 0:
                loop = asyncio.get_running_loop()
                self._timers[target.name] = loop.call_later(wait, self._pump, target)
                return
            if self._busy >= self._config.at_once:
                self._starved[target.name] = None
                return
            self._busy += 1
            delivery = target.take()
            self._spawn(self._try(target, delivery), f"webhook {delivery.id}")
        if target.is_idle:
            self._targets.pop(target.name, None)

    async def _try(self, target: Target, delivery: DeliveryRow) -> None:
        try:
            outcome = await self._sender.send(delivery)
        except Exception as error:  # the database, or a fault of the gateway's own: a line must not stop
            log.error("webhook.not_sent", message=delivery.message_id, exc_info=not isinstance(error, StorageError))
            outcome = Outcome(None, "the gateway failed to send it")
        self._busy -= 1
        self._note(target, delivery, outcome)
        if delivery.ended_at is not None and target.has_more_of(delivery.line):
            await self._committed()  # or a kill now would have this one told again after the next one
        again = None if delivery.ended_at is not None else self._due(delivery)
        target.tried(delivery, again=again, next_due=self._clock.monotonic())
        for name in list(self._starved):
            if self._busy >= self._config.at_once:
                break
            self._starved.pop(name, None)
            self._pump(self._target(name))
        self._pump(target)

    def _note(self, target: Target, delivery: DeliveryRow, outcome: Outcome) -> None:
        """Has what came of a try stored."""
        now = self._clock.wall_ms()
        delivery.attempts += 1
        follows = after(
            outcome,
            tries=delivery.attempts,
            created_at=delivery.created_at,
            now=now,
            config=self._config,
            chance=random.random(),
        )
        delivery.state, delivery.next_at = follows.state.value, follows.at
        delivery.status, delivery.error = outcome.status, outcome.error
        delivery.ended_at = None if follows.state is DeliveryState.PENDING else now
        self.failed_tries += not outcome.is_taken
        if delivery.ended_at is not None:
            self.ended[follows.state] += 1
        target.unreachable = target.unreachable + 1 if outcome.status is None else 0
        self._db.write_behind(rows.tried(delivery))
        if follows.state is DeliveryState.GIVEN_UP:
            log.warning(
                "webhook.given_up",
                job=delivery.job_id,
                target=target.name,
                message=delivery.message_id,
                tries=delivery.attempts,
                reason=outcome.error,
            )

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
