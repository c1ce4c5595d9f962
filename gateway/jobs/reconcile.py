"""Comparing what the gateway thinks a runner holds with what the runner says: when a link opens, after a restart of
either side, and at every health check while jobs are on it.

    the runner says          then the attempt
    running                  is running
    pending                  is held
    in the history           has ended, with that entry: its events were missed
    no trace                 is lost

What clients have asked for and the runner could not be told, is told now. A runner that is stuck loses its jobs here.
"""

from __future__ import annotations

from typing import Any

import structlog

from gateway.jobs.dispatch import Dispatcher
from gateway.jobs.job import Attempt
from gateway.jobs.post import Fate, Found, drop, history_entry
from gateway.jobs.registry import Registry
from gateway.jobs.states import AttemptState
from gateway.jobs.watchdog import Watchdog
from gateway.runners.runner import Runner

IN_FLIGHT = frozenset({AttemptState.POSTING, AttemptState.PROBING})

log = structlog.get_logger(__name__)


class Reconciler:
    """Sets attempts right by what their runner says."""

    def __init__(self, registry: Registry, dispatcher: Dispatcher, watchdog: Watchdog) -> None:
        self._registry = registry
        self._dispatcher = dispatcher
        self._watchdog = watchdog
        self._seen_ownerless: dict[str, set[str]] = {}
        self._told_to_drop: dict[str, set[tuple[int, str, bool]]] = {}  # life of the link, id, whether it has begun

    async def reconcile(self, runner: Runner) -> None:
        """Sets right every attempt on this runner whose POST is not under way. Raises RunnerError, StorageError."""
        attempts = self._settled_on(runner)
        queue = await runner.client.get_json("/queue")
        running = _ids(queue.get("queue_running"))
        pending = _ids(queue.get("queue_pending"))
        for attempt in attempts:
            if attempt.is_being_withdrawn or attempt.is_closing or not attempt.is_open:
                continue  # since the queue was read; whoever does that knows, or looks for itself
            found = await self._found(runner, attempt, running, pending)
            await self._dispatcher.apply(attempt, found, when_gone=AttemptState.LOST)
        for attempt in sorted(attempts, key=lambda each: each.state is AttemptState.RUNNING):
            await self._dispatcher.obey(attempt)  # the running one last: where it is interrupted, the next one begins
        stuck = self._watchdog.look(runner.name, running.keys(), pending.keys())
        if stuck is None:
            runner.unstuck()
        else:
            runner.stuck(stuck)
            await self._evacuate(runner, stuck)
        await self._remove_orphans(runner, running, pending)

    async def check(self, runner: Runner) -> None:
        """As ``reconcile``, where there is anything to compare. Raises RunnerError, StorageError."""
        if runner.name in self._dispatcher.undropped:
            await self.reconcile(runner)
            return
        has_jobs = self._registry.attempts_on(runner.name) or self._seen_ownerless.get(runner.name)
        if has_jobs or self._watchdog.watches(runner.name):
            await self.reconcile(runner)

    async def _evacuate(self, runner: Runner, reason: str) -> None:
        """Takes back what has not begun; the running one is lost."""
        for attempt in self._settled_on(runner):
            if attempt.state is AttemptState.HELD:
                await self._dispatcher.withdraw(attempt)
            elif attempt.state is AttemptState.RUNNING:
                self._dispatcher.lost(attempt, reason)

    def _settled_on(self, runner: Runner) -> list[Attempt]:
        """Attempts with which nothing is under way that the runner's answer could be too old or too new for."""
        return [
            attempt
            for attempt in self._registry.attempts_on(runner.name)
            if attempt.state not in IN_FLIGHT and not attempt.is_being_withdrawn
        ]

    async def _found(self, runner: Runner, attempt: Attempt, running: dict[str, Any], pending: dict[str, Any]) -> Found:
        if attempt.runner_prompt_id in running:
            return Found(Fate.RUNNING)
        if attempt.runner_prompt_id in pending:
            return Found(Fate.PENDING)
        entry = await history_entry(runner, attempt.runner_prompt_id)
        return Found(Fate.GONE) if entry is None else Found(Fate.FINISHED, entry)

    async def _remove_orphans(self, runner: Runner, running: dict[str, Any], pending: dict[str, Any]) -> None:
        """Prompts of the gateway's own link that no job owns: attempts given up while the runner could not be reached.

        They are known by the link's ``client_id``; what others have submitted to the runner is left alone. One is
        removed when it is seen so a second time: the runner's answer may be older than what the gateway knows. A runner
        that goes on showing it, because its worker is stuck, is not told again unless it begins or the link opens anew.
        """
        mine = {
            runner_prompt_id
            for runner_prompt_id, client_id in (*pending.items(), *running.items())
            if client_id == runner.link.sid and self._registry.attempt(runner.name, runner_prompt_id) is None
        }
        if any(attempt.state in IN_FLIGHT for attempt in self._registry.attempts_on(runner.name)):
            mine = set()  # the runner may have given one of these another id, and not have said so yet
        told = self._told_to_drop.get(runner.name, set())
        due = {(runner.boot, each, each in running) for each in mine & self._seen_ownerless.get(runner.name, set())}
        for what in due - told:
            log.warning("runner.orphan_removed", runner=runner.name, runner_prompt_id=what[1])
            await drop(runner, what[1])
            self._told_to_drop.setdefault(runner.name, set()).add(what)
        self._seen_ownerless[runner.name] = mine
        self._told_to_drop[runner.name] = due
        self._dispatcher.undropped.discard(runner.name)


def _ids(items: Any) -> dict[str, Any]:
    """The prompt ids in a part of /queue, with the ``client_id`` of each."""
    found = {}
    for item in items or ():
        if isinstance(item, list) and len(item) > 3 and isinstance(item[1], str):
            found[item[1]] = item[3].get("client_id") if isinstance(item[3], dict) else None
    return found
