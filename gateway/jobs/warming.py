"""Models that are to stay loaded somewhere (`scheduling.keep_warm`): where no runner has one any more, after a restart
or when memory was freed, a small job of the gateway's own loads it again. It goes through the queue like every other,
behind all of them; its owner is `HOUSE`, whose jobs no client is shown.

    state      when                                                     left when
    loaded     a runner that is up has it                               none has it
    waiting    none has it, and no idle one could load it without       one could
               throwing out another of these models
    loading    its job has not ended                                    it has
    pausing    its job has ended and loaded nothing                     the pause is over
    given_up   so many times in a row                                   a runner is connected
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import structlog

from gateway.clock import Clock
from gateway.config.scheduling import KeptModel
from gateway.jobs.dispatch import Dispatcher
from gateway.jobs.job import Attempt, Job
from gateway.jobs.owners import HOUSE
from gateway.jobs.registry import VISIBLE, Registry
from gateway.jobs.states import AttemptState, JobState
from gateway.jobs.submission import Answer
from gateway.scheduling.warm import victims

LOOK_SECONDS = 5.0  # between two looks at what is loaded where, where nothing calls for one before
PAUSES = (10.0, 60.0, 300.0)  # seconds before each further try
LAST_PRIORITY = -100
SEEDS = ("seed", "noise_seed")

log = structlog.get_logger(__name__)


Submit = Callable[[Mapping[str, Any], str], Awaitable[Answer]]


class State(StrEnum):
    """See the table at the top of this module."""

    LOADED = "loaded"
    WAITING = "waiting"
    LOADING = "loading"
    PAUSING = "pausing"
    GIVEN_UP = "given_up"


@dataclass(slots=True)
class Kept:
    """A model with the graph that loads it. ``tries`` are those in a row that loaded nothing; ``job`` is the id of the
    newest; ``again_at`` is in monotonic seconds."""

    model: str
    graph: Mapping[str, Any]
    state: State = State.WAITING
    tries: int = 0
    job: str | None = None
    again_at: float = 0.0


class Warming:
    """Looks after these models. It is a Watcher of the registry."""

    def __init__(
        self, kept: Iterable[KeptModel], registry: Registry, dispatcher: Dispatcher, submit: Submit, clock: Clock
    ) -> None:
        self._kept = [Kept(each.model, graph) for each in kept if (graph := each.graph) is not None]
        self._keep = frozenset(each.model for each in kept)
        self._registry = registry
        self._dispatcher = dispatcher
        self._submit = submit
        self._clock = clock
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        registry.watchers.append(self)

    def start(self) -> None:
        """From now on models are loaded again."""
        if self._kept:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """No more is submitted; a job under way goes on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def told(self) -> list[dict[str, Any]]:
        """Each model as the operator is shown it."""
        return [
            {
                "model": each.model,
                "state": each.state.value,
                "tries": each.tries,
                "job": each.job,
                "runners": self._holders(each.model),
            }
            for each in self._kept
        ]

    @property
    def is_at_work(self) -> bool:
        """Whether there may be jobs of the gateway's own."""
        return bool(self._registry.taken_of_owner(HOUSE))

    # what calls for a look

    def look_soon(self) -> None:
        """Something may have been unloaded, or a runner has come or gone."""
        self._wanted.set()

    def runner_connected(self) -> None:
        """What could not be loaded so far is tried again."""
        for each in self._kept:
            if each.state is State.GIVEN_UP:
                each.tries, each.state = 0, State.WAITING
        self.look_soon()

    def job_turned(self, job: Job, was: JobState) -> None:
        """See Watcher."""
        if job.owner == HOUSE and job.state not in VISIBLE:
            self.look_soon()

    def attempt_turned(self, attempt: Attempt, was: AttemptState, reason: str) -> None:
        """See Watcher."""

    # looking

    async def _run(self) -> None:
        while True:
            self._wanted.clear()
            try:
                await self.look()
            except Exception:  # one model's trouble must not end the care for all of them
                log.error("model.not_looked_after", exc_info=True)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):  # wait_for may lose a cancellation, before Python 3.12
                    await self._wanted.wait()

    async def look(self) -> None:
        """Brings each model one step further."""
        for each in self._kept:
            before = each.state
            each.state = self._state(each)
            if each.state is State.LOADED:
                each.tries, each.job = 0, None
            if each.state is not before:
                log.info("model.state", model=each.model, state=each.state.value, was=before.value, job=each.job)
            if each.state is State.WAITING and self._could_be_loaded(each):
                await self._load(each)

    def _state(self, kept: Kept) -> State:
        if self._holders(kept.model):
            return State.LOADED
        own = self._registry.shown(*VISIBLE, owner=HOUSE)  # perhaps submitted in an earlier life
        mine = [job for job in own if job.id == kept.job or kept.model in job.needs.models]
        if mine:
            kept.job = mine[0].id
            return State.LOADING
        if kept.state is State.LOADING:
            self._failed(kept, "its job has ended, and it is not loaded")
        if kept.tries > len(PAUSES):
            return State.GIVEN_UP
        return State.PAUSING if self._clock.monotonic() < kept.again_at else State.WAITING

    def _failed(self, kept: Kept, reason: str) -> None:
        kept.tries += 1
        pause = PAUSES[kept.tries - 1] if kept.tries <= len(PAUSES) else None
        kept.again_at = self._clock.monotonic() + (pause or 0.0)
        log.warning("model.not_loaded", model=kept.model, job=kept.job, tries=kept.tries, again=pause, reason=reason)

    async def _load(self, kept: Kept) -> None:
        extra_data = {"gateway": {"priority": LAST_PRIORITY}}
        prompt = _another_seed(kept.graph)
        answer = await self._submit({"prompt": prompt, "number": 0, "extra_data": extra_data}, HOUSE)
        kept.job = answer.job
        if answer.status == 200:
            kept.state = State.LOADING
            log.info("model.loading", model=kept.model, job=kept.job)
        else:
            self._failed(kept, answer.body.decode(errors="replace"))
            kept.state = self._state(kept)

    # what is loaded where

    def _holders(self, model: str) -> list[str]:
        memory = self._dispatcher.scheduler.memory
        up = (view.name for view in self._dispatcher.views() if view.is_up and view.is_active)
        return [name for name in up if model in memory.warm(name)]

    def _could_be_loaded(self, kept: Kept) -> bool:
        """Whether an idle runner has what the graph needs, and loading it costs the pool none of these models."""
        views, scheduler = self._dispatcher.views(), self._dispatcher.scheduler
        needs = self._dispatcher.drawing.needs(dict(kept.graph), frozenset(), HOUSE)
        able, state = scheduler.fitting(views)(needs, frozenset()), scheduler.snapshot(views)
        models = needs.models | {kept.model}
        return any(
            name in able
            and runner.queue == 0
            and not any(
                len(state.holders[victim]) == 1 for victim in self._keep.intersection(victims(state, runner, models))
            )
            for name, runner in state.idle.items()
        )


def _another_seed(graph: Mapping[str, Any]) -> dict[str, Any]:
    """The graph with seeds that no runner has results for."""
    seed = uuid.uuid4().int % 2**32
    return {
        node_id: {
            **node,
            "inputs": {
                name: seed if name in SEEDS and isinstance(value, int) else value
                for name, value in node["inputs"].items()
            },
        }
        for node_id, node in graph.items()
    }
