"""Learning from jobs that end well: how long their kind takes, how fast their runner is, what it has loaded now and how
long that took. Kept in the database; what is loaded is forgotten when a runner restarts or frees its memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict

import structlog

from gateway.clock import Clock
from gateway.comfyui import graph, json_text
from gateway.comfyui.catalogue import Catalogue
from gateway.comfyui.messages import Message
from gateway.jobs.job import Attempt, Job
from gateway.jobs.registry import Registry
from gateway.jobs.scheduler import Scheduler
from gateway.jobs.states import AttemptState, JobState
from gateway.jobs.timing import Timing
from gateway.runners.pool import Pool
from gateway.runners.runner import Runner
from gateway.scheduling.estimates import ENOUGH, Average
from gateway.scheduling.memory import RunnerMemory
from gateway.scheduling.models import is_loader, is_model_file
from gateway.storage import learned
from gateway.storage.database import Database

STORED_EVERY_SECONDS = 30.0
LEAST_SECONDS = 1e-3
RUNNER, MODEL, KIND = "runner", "model", "kind"

log = structlog.get_logger(__name__)


class Learner:
    """Hears every message of a run, and watches how it ends. It is a Watcher of the registry.

    ``on_forgotten`` is called when a runner has nothing loaded any more.
    """

    def __init__(self, registry: Registry, pool: Pool, scheduler: Scheduler, db: Database, clock: Clock) -> None:
        self._pool = pool
        self._scheduler = scheduler
        self._db = db
        self._clock = clock
        self._timings: dict[Attempt, Timing] = {}
        self._storing: asyncio.TimerHandle | None = None
        self.on_forgotten: Callable[[], None] = lambda: None
        registry.watchers.append(self)

    async def load(self) -> None:
        """Reads what earlier lives of the gateway have learned. Raises StorageError."""
        memory, estimates = self._scheduler.memory, self._scheduler.estimates
        for topic, name, text in await learned.load_learned(self._db):
            value = json_text.loads(text)
            if topic == RUNNER:
                memory.put_runner(name, RunnerMemory(**value))
            elif topic == MODEL:
                memory.put_load(name, value)
            else:
                estimates.put(name, Average(**value))
        memory.changed.clear()

    def close(self) -> None:
        """Enqueues what is not stored yet."""
        if self._storing is not None:
            self._storing.cancel()
            self._store()

    # what is heard

    def told(self, attempt: Attempt, message: Message) -> None:
        """A message of a run, as it comes."""
        timing = self._timings.get(attempt)
        if timing is None:
            timing = self._timings[attempt] = Timing(loaders_of(attempt.job.prompt, self._pool.catalogue()))
        timing.hear(message, self._clock.monotonic())

    def job_turned(self, job: Job, was: JobState) -> None:
        """See Watcher: a job that waits is demand for its models."""
        if was is JobState.SUBMITTING and job.state is not JobState.REFUSED:
            self._scheduler.arrived(job)

    def attempt_turned(self, attempt: Attempt, was: AttemptState, reason: str) -> None:
        """See Watcher: a run is over."""
        if attempt.is_open:
            return
        timing = self._timings.pop(attempt, None)
        if timing is not None and attempt.state is AttemptState.ENDED:
            self._ran(attempt, timing)

    # what is forgotten

    def forget(self, runner: str, reason: str) -> None:
        """Nothing is loaded there any more."""
        if self._scheduler.memory.warm(runner):
            log.info("runner.models_forgotten", runner=runner, reason=reason)
            self._scheduler.memory.forget(runner)
            self._store_soon()
            self.on_forgotten()

    async def connected(self, runner: Runner) -> None:
        """A runner's link stands. It has run jobs of ours where it has models loaded: if its history is empty, it was
        restarted since. Raises RunnerError."""
        if not self._scheduler.memory.warm(runner.name):
            return
        reply = await runner.client.request("GET", "/history", params={"max_items": "1"})
        if reply.ok and not reply.json():
            self.forget(runner.name, "it was restarted")

    # what is learned

    def _ran(self, attempt: Attempt, timing: Timing) -> None:
        job, runner = attempt.job, self._pool.get(attempt.runner)
        whole = timing.seconds
        if runner is None or whole is None:
            return
        memory, estimates = self._scheduler.memory, self._scheduler.estimates
        speed = self._scheduler.speed(runner)
        models, known = job.needs.models, estimates.estimate(job.profile, job.needs.models)
        worked = max(LEAST_SECONDS, whole - timing.loading)
        unaccounted = timing.unaccounted
        if known.count >= ENOUGH and memory.knows_speed(runner.name) and worked > known.high / speed:
            hidden, load = worked - known.seconds / speed, sum(memory.load(model) for model in models)
            if load / 2 < hidden < load * 2:
                unaccounted, worked = unaccounted + hidden, worked - hidden  # loaded where no message tells
        memory.ran(runner.name, models, timing.loaded, unaccounted)
        self._scheduler.worked(runner.name, worked)
        if not _is_mostly_cached(job.prompt, timing.cached):
            if known.count >= ENOUGH:
                memory.took(runner.name, worked / known.seconds, runner.config.weight)
            estimates.learn(job.profile, models, worked * speed)
        log.debug(
            "job.learned",
            job=job.id,
            runner=runner.name,
            seconds=round(whole, 3),
            loading=round(whole - worked, 3),
            expected=round(known.seconds / speed, 3),
            warm=memory.warm(runner.name),
        )
        self._store_soon()

    # keeping it

    def _store_soon(self) -> None:
        if self._storing is None:
            loop = asyncio.get_running_loop()
            self._storing = loop.call_later(STORED_EVERY_SECONDS, self._store)

    def _store(self) -> None:
        self._storing = None
        memory, estimates, now = self._scheduler.memory, self._scheduler.estimates, self._clock.wall_ms()
        operations = []
        for topic, name in memory.changed:
            value = asdict(memory.runners[name]) if topic == RUNNER else memory.loads.get(name)
            if value is not None:
                operations.append(learned.set_learned(topic, name, json_text.dumps(value), now))
        for key in estimates.changed:
            average = estimates.get(key)
            if average is not None:
                operations.append(learned.set_learned(KIND, key, json_text.dumps(asdict(average)), now))
        operations += [learned.delete_learned(KIND, key) for key in estimates.forgotten]
        operations += [learned.delete_learned(MODEL, key) for key in memory.forgotten]
        for done in (memory.changed, estimates.changed, estimates.forgotten, memory.forgotten):
            done.clear()
        if operations:
            self._db.write_behind(*operations)


def loaders_of(prompt: Mapping[str, object], catalogue: Catalogue) -> dict[str, tuple[str, ...]]:
    """The nodes of a graph that load models, with the files that each names."""
    found = {}
    for node_id, class_type, inputs in graph.nodes(prompt):
        node_class = catalogue.classes.get(class_type)
        if node_class is not None and is_loader(node_class):
            files = tuple(value for name, value in inputs.items() if name in node_class.combos and is_model_file(value))
            if files:
                found[node_id] = files
    return found


def _is_mostly_cached(prompt: Mapping[str, object], cached: set[str]) -> bool:
    """Whether what takes the time did not run: every node, or one that counts steps, had been run before."""
    nodes = [(node_id, inputs) for node_id, _, inputs in graph.nodes(prompt)]
    return all(node_id in cached for node_id, _ in nodes) or any(
        node_id in cached and "steps" in inputs for node_id, inputs in nodes
    )
