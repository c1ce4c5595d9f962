"""The jobs room over runners that are played by hand: a real database, no HTTP, no simulator, a clock that stands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson

from gateway.clock import Clock
from gateway.comfyui import jobs_api, messages
from gateway.comfyui.catalogue import Catalogue
from gateway.files.outputs import OutputNames
from gateway.files.staging import StagedPrompt
from gateway.jobs.content import Content
from gateway.jobs.control import Control
from gateway.jobs.dispatch import Dispatcher
from gateway.jobs.endings import Endings
from gateway.jobs.follow import Follower
from gateway.jobs.history import History
from gateway.jobs.job import Attempt, Job, Options
from gateway.jobs.reconcile import Reconciler
from gateway.jobs.registry import Registry
from gateway.jobs.secrets import Secrets
from gateway.jobs.states import AttemptState, JobState
from gateway.jobs.watchdog import Watchdog
from gateway.scheduling.needs import Needs
from gateway.storage.database import Database

STUCK_SECONDS = 600.0
NOW_MS = 1_700_000_000_000
PROMPT = {"9": {"class_type": "SaveImage", "inputs": {}}}
SECRETS = Secrets(bytes(32))
NO_NEEDS = Needs(frozenset(), frozenset(), frozenset())


class StandingClock(Clock):
    """Time passes when a test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.set_by_seconds = 0.0  # somebody sets the wall clock forward, or back
        self.alarms: list[StandingAlarm] = []

    def wall_ms(self) -> int:
        return NOW_MS + int((self.seconds + self.set_by_seconds) * 1000)

    def monotonic(self) -> float:
        return self.seconds

    def call_later(self, seconds: float, call: Callable[[], None]) -> StandingAlarm:
        self.alarms.append(StandingAlarm(self, self.seconds + seconds, call))
        return self.alarms[-1]

    def let_pass(self, seconds: float) -> None:
        """Time passes, and whatever is due meanwhile is called."""
        until = self.seconds + seconds
        while due := [alarm for alarm in self.alarms if alarm.due <= until]:
            first = min(due, key=lambda alarm: alarm.due)
            first.cancel()
            self.seconds = max(self.seconds, first.due)
            first.call()
        self.seconds = until


@dataclass(eq=False)
class StandingAlarm:
    """Something that is called when a test lets the time come."""

    clock: StandingClock
    due: float
    call: Callable[[], None]

    def cancel(self) -> None:
        if self in self.clock.alarms:
            self.clock.alarms.remove(self)


class Listener:
    """What clients hear, in order: (job id, type) and the messages themselves."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.messages: list[messages.Message] = []
        self.frames: list[tuple[str, bytes]] = []
        self.lost: list[str] = []

    def job_message(self, job: Job, message: messages.Message) -> None:
        node = message.data.get("node", "")
        self.told.append((job.id, message.type if node is not None else "done"))
        self.messages.append(message)

    def job_frame(self, job: Job, frame: bytes) -> None:
        self.frames.append((job.id, frame))

    def job_lost(self, job: Job) -> None:
        self.lost.append(job.id)

    def queue_changed(self, owner: str) -> None:
        self.told.append(("", "status"))

    def runner_message(self, runner: str, message: messages.Message) -> None:
        self.told.append(("", message.type))

    def runner_frame(self, runner: str, frame: bytes) -> None:
        self.frames.append(("", frame))

    def types(self) -> list[str]:
        return [kind for job_id, kind in self.told if job_id]


class PlayedRunner:
    """A runner whose queue and history are what the test writes there; it is its own client."""

    latency_seconds = 0.0

    def __init__(self, name: str = "gpu-0", *, has_jobs_api: bool = True, capacity: int = 2) -> None:
        self.name = name
        self.has_jobs_api = has_jobs_api
        self.capacity = capacity
        self.running: list[str] = []
        self.pending: list[str] = []
        self.history: dict[str, Any] = {}
        self.calls: list[tuple[str, str, Any]] = []
        self.failure: Exception | None = None  # of every call
        self.answer_to_prompt: Any = None  # (status, body), or an exception; None accepts
        self.suspicions: list[str] = []
        self.links_reopened = 0
        self.prompts_taken = 0
        self.clients_of: dict[str, str] = {}
        self.is_ready = True
        self.boot = 1
        self.queue_remaining = 0
        self.catalogue_version = 1
        self.client = self
        self.link = SimpleNamespace(sid="gateway", is_open=True, server_flags={}, answers=self._answers)
        self.config = SimpleNamespace(tags=(), status="active", weight=1.0, reserved_for=())
        self.health = SimpleNamespace(state=SimpleNamespace(value="ready"), reason="")
        self.facts = SimpleNamespace(catalogue=None)  # unknown: fits all

    async def _answers(self) -> bool:
        return bool(self.link.is_open)

    def suspect(self, reason: str) -> None:
        self.suspicions.append(reason)

    def took_a_prompt(self) -> None:
        self.prompts_taken += 1

    def stuck(self, reason: str) -> None:
        self.is_ready = False

    def unstuck(self) -> None:
        self.is_ready = True

    async def reopen_link(self, reason: str) -> None:
        self.links_reopened += 1
        self.boot += 1

    async def get_json(self, path: str, **_: Any) -> Any:
        self.calls.append(("GET", path, None))
        if self.failure is not None:
            raise self.failure
        if path == "/queue":
            return {"queue_running": self._items(self.running), "queue_pending": self._items(self.pending)}
        prompt_id = path.removeprefix("/history/")
        return {prompt_id: self.history[prompt_id]} if prompt_id in self.history else {}

    async def request(self, method: str, path: str, *, json: Any = None, data: Any = None, **_: Any) -> Any:
        body = json if data is None else orjson.loads(data)
        self.calls.append((method, path, body))
        if self.failure is not None:
            raise self.failure
        if path == "/prompt":
            return self._prompt(body)
        if path == "/queue":
            self.pending = [prompt_id for prompt_id in self.pending if prompt_id not in body["delete"]]
        if path.startswith("/api/jobs/"):
            return _reply(200, {"cancelled": path.split("/")[3] in [*self.running, *self.pending]})
        return _reply(200, {})

    def _prompt(self, body: Any) -> Any:
        if isinstance(self.answer_to_prompt, Exception):
            raise self.answer_to_prompt
        if self.answer_to_prompt is not None:
            return _reply(*self.answer_to_prompt)
        self.pending.append(body["prompt_id"])
        return _reply(200, {"prompt_id": body["prompt_id"], "number": 1, "node_errors": {}})

    def _items(self, prompt_ids: list[str]) -> list[Any]:
        return [
            [0, prompt_id, {}, {"client_id": self.clients_of.get(prompt_id, "gateway")}, []] for prompt_id in prompt_ids
        ]

    def did(self, path: str) -> list[Any]:
        """The bodies of the POSTs to a path."""
        return [body for method, called, body in self.calls if (method, called) == ("POST", path)]


def _reply(status: int, body: Any) -> Any:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    headers = {"Content-Type": "application/json"}
    return SimpleNamespace(
        status=status, ok=200 <= status < 300, body=raw, headers=headers, json=lambda: orjson.loads(raw)
    )


class PlayedPool(dict[str, PlayedRunner]):
    """The runners by name."""

    version = ()

    def __iter__(self) -> Any:
        return iter(self.values())

    def catalogue(self) -> Catalogue:
        return Catalogue({})


class NoStaging:
    """Every prompt as it is."""

    async def stage(self, prompt: Any, *_: Any) -> StagedPrompt:
        return StagedPrompt(prompt, {})


@dataclass
class Room:
    """The parts of the jobs room, wired as by ``gateway.jobs.jobs``."""

    db: Database
    clock: StandingClock
    listener: Listener
    registry: Registry
    history: History
    endings: Endings
    pool: PlayedPool
    dispatcher: Dispatcher
    follower: Follower
    reconciler: Reconciler
    control: Control
    watchdog: Watchdog
    numbers: int = field(default=0)

    @property
    def runner(self) -> PlayedRunner:
        return self.pool["gpu-0"]

    def job(self, job_id: str = "a", **more: Any) -> Job:
        """A new job, not registered."""
        self.numbers += 1
        extra_data = more.pop("extra_data", {})
        values: dict[str, Any] = {
            "seq": self.numbers,
            "number": self.numbers,
            "owner": "",
            "client_id": "client",
            "content": Content(more.pop("prompt", PROMPT), extra_data),
            "workflow_id": jobs_api.workflow_id(extra_data),
            "secrets": {},
            "options": Options(),
            "needs": NO_NEEDS,
            "created_at": NOW_MS,
        } | more
        return Job(id=job_id, **values)

    async def pending(self, job_id: str = "a", **more: Any) -> Job:
        """A job that waits."""
        job = self.job(job_id, **more)
        self.registry.add(job)
        await self.registry.store_submission(job, None)
        job.was_accepted = True
        self.registry.turn(job, JobState.PENDING)
        return job

    async def held(self, job_id: str = "a", runner: str = "gpu-0", **more: Any) -> Attempt:
        """A job that a runner holds, and that has not begun."""
        job = self.job(job_id, **more)
        self.registry.add(job)
        attempt = self.registry.new_attempt(job, runner, probe=False)
        await self.registry.store_submission(job, attempt)
        job.was_accepted = True
        attempt.boot = 1
        self.registry.turn(job, JobState.DISPATCHED)
        self.registry.turn_attempt(attempt, AttemptState.HELD)
        self.pool[runner].pending.append(attempt.runner_prompt_id)
        return attempt

    async def running(self, job_id: str = "a", runner: str = "gpu-0", **more: Any) -> Attempt:
        """A job that has begun; the client has been told its start."""
        attempt = await self.held(job_id, runner, **more)
        played = self.pool[runner]
        played.pending.remove(attempt.runner_prompt_id)
        played.running.append(attempt.runner_prompt_id)
        await self.tell(attempt, "execution_start", timestamp=NOW_MS)
        return attempt

    async def tell(self, attempt: Attempt, kind: str, **data: Any) -> None:
        """The runner's link brings a message of the attempt."""
        message = messages.make(kind, {"prompt_id": attempt.runner_prompt_id, **data})
        await self.follower.message(self.pool[attempt.runner], message)

    def finish(self, attempt: Attempt, **entry: Any) -> None:
        """The runner's own books: the job has left the queue and stands in the history."""
        played, runner_id = self.pool[attempt.runner], attempt.runner_prompt_id
        played.running = [each for each in played.running if each != runner_id]
        played.pending = [each for each in played.pending if each != runner_id]
        played.history[runner_id] = history_of(runner_id, **entry)


def history_of(
    runner_id: str, *, outputs: Any = None, end: str = "execution_success", extra_data: Any = None
) -> dict[str, Any]:
    """A runner's history entry."""
    success = end == "execution_success"
    told = [[kind, {"prompt_id": runner_id, "timestamp": 1}] for kind in ("execution_start", "execution_cached", end)]
    return {
        "prompt": [7.0, runner_id, PROMPT, extra_data or {"client_id": "gateway"}, ["9"]],
        "outputs": outputs or {},
        "status": {"status_str": "success" if success else "error", "completed": success, "messages": told},
        "meta": {},
    }


@asynccontextmanager
async def jobs_room(
    folder: Path, *runners: PlayedRunner, retries: int = 2, poison: int = 2, oom: bool = False
) -> AsyncIterator[Room]:
    """A room whose dispatcher is closed until a test opens it."""
    pool = PlayedPool({runner.name: runner for runner in runners or (PlayedRunner(),)})
    async with await Database.open(f"sqlite:///{folder}/gateway.db", synchronous="normal") as db:
        clock, listener = StandingClock(), Listener()
        registry, history, names = Registry(db, clock, listener), History(db), OutputNames(db)
        endings = Endings(
            registry,
            history,
            names,
            db,
            clock,
            retries=retries,
            poison_after_runners=poison,
            retry_out_of_memory=oom,
        )
        dispatcher = Dispatcher(registry, pool, NoStaging(), endings, clock, post_timeout_seconds=1)
        endings.on_slot_free = dispatcher.schedule
        endings.could_go_elsewhere = dispatcher.has_another_runner
        follower = Follower(registry, endings)
        dispatcher.on_another_id = follower.answered_to_another_id
        watchdog = Watchdog(clock, stuck_seconds=STUCK_SECONDS)
        reconciler, control = Reconciler(registry, dispatcher, watchdog), Control(registry, dispatcher, endings)
        yield Room(
            db, clock, listener, registry, history, endings, pool, dispatcher, follower, reconciler, control, watchdog
        )
        await dispatcher.close()
        await endings.settled()
