"""One runner: what the operator wrote about it, its client, its link, its health and its catalogue, in one place.

Health is one table. A runner is given work only in READY.

    state           meaning                                                       leaves it by
    CONNECTING      no link yet, or the link is open and is being made ready      ready, refused
    READY           link open, HTTP answers, catalogue read, jobs reconciled      link or HTTP gone -> SUSPECT
    SUSPECT         link or HTTP gone for less than the grace time                ready again, grace passed -> LOST
    LOST            link and HTTP gone past the grace time; its jobs move away    ready again
    STUCK           it answers, and its worker does nothing; its jobs move away   its queue moves, or it restarts
    MISCONFIGURED   it answers 401 or 403: the headers in the YAML are wrong      answers differently
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Protocol

import structlog

from gateway.clock import Clock
from gateway.comfyui.catalogue import Catalogue
from gateway.comfyui.messages import Message
from gateway.config import HealthConfig, RunnerConfig
from gateway.runners.addresses import EndpointRules
from gateway.runners.backoff import Backoff
from gateway.runners.client import RunnerClient
from gateway.runners.definitions import Definitions, Shelf
from gateway.runners.errors import RunnerError, RunnerMisanswered
from gateway.runners.link import Link

CATALOGUE_SECONDS = 180.0  # the first /object_info of a runner with many custom nodes takes minutes
REFUSALS = (401, 403)
BACKOFF_MOST_SECONDS = 60.0  # between two tries of a runner that fails again and again

# Unique in the process: what is remembered by them outlives a runner that leaves and comes back under its name.
_lives = itertools.count(1)

log = structlog.get_logger(__name__)


class RunnerState(StrEnum):
    """See the table at the top of this module."""

    CONNECTING = "connecting"
    READY = "ready"
    SUSPECT = "suspect"
    LOST = "lost"
    STUCK = "stuck"
    MISCONFIGURED = "misconfigured"


@dataclass(slots=True)
class Health:
    """A runner's state, why, and since when (monotonic seconds)."""

    state: RunnerState
    reason: str
    since: float


@dataclass(slots=True)
class Facts:
    """What a runner said about itself when it was last made ready."""

    system_stats: dict[str, Any] = field(default_factory=dict)
    features: dict[str, Any] = field(default_factory=dict)
    definitions: Definitions | None = None
    version: str = ""  # ComfyUI's, "" while unknown
    security_policy: str = ""  # the Content-Security-Policy of its answers (ComfyUI's --disable-api-nodes), "" for none

    @property
    def object_info(self) -> Mapping[str, Any]:
        """The definitions of its node classes, empty while unknown. They are not to be changed."""
        return {} if self.definitions is None else self.definitions.object_info

    @property
    def catalogue(self) -> Catalogue | None:
        """The same as the scheduler reads it."""
        return None if self.definitions is None else self.definitions.catalogue


class AddedRunner(RunnerConfig):
    """A runner that was given at run time, not by the configuration: the rules of `endpoints.runner` hold for it."""


class RunnerObserver(Protocol):
    """Who hears what becomes of runners: the jobs room. Messages and frames of one runner come in order."""

    async def runner_connected(self, runner: Runner) -> None:
        """The runner answers. Its jobs are reconciled here, before it takes work. Raises RunnerError."""

    async def runner_lost(self, runner: Runner, reason: str) -> None:
        """The runner has been gone past the grace time."""

    async def runner_checked(self, runner: Runner) -> None:
        """A health check went well: the time to compare what the runner holds with what it should."""

    def runner_message(self, runner: Runner, message: Message) -> Awaitable[None] | None:
        """A text frame came. What is returned is awaited before the next one."""

    async def runner_binary(self, runner: Runner, frame: bytes) -> None:
        """A binary frame came."""

    def pool_changed(self) -> None:
        """A runner became ready, stopped being ready, or changed its catalogue."""


class Runner:
    """One backend ComfyUI server.

    ``boot`` numbers the lives of its link: whatever the runner kept in memory or in its temp folder is certain only
    within one of them. ``rules`` say where an `AddedRunner` may be; ``shelf`` is that of its pool. ``changes`` counts,
    for all runners together, whatever may change what a pool shows of them.
    """

    changes: ClassVar[int] = 0

    def __init__(
        self,
        config: RunnerConfig,
        sid: str,
        observer: RunnerObserver,
        *,
        health: HealthConfig,
        clock: Clock,
        rules: EndpointRules | None = None,
        shelf: Shelf | None = None,
    ) -> None:
        self.config = config
        self.name = config.name
        self._rules = rules
        self._shelf = shelf or Shelf()
        self.client = _client_of(config, health, rules)
        self.link = Link(self.client, sid, self)
        self.health = Health(RunnerState.CONNECTING, "not connected yet", clock.monotonic())
        self.facts = Facts()
        self.queue_remaining = 0  # as the runner itself counts, whoever submitted
        self.boot = 0
        self._observer = observer
        self._settings = health
        self._clock = clock
        self._prompts = Backoff(health.interval_seconds, BACKOFF_MOST_SECONDS)
        self._links = Backoff(health.interval_seconds, BACKOFF_MOST_SECONDS)
        self._link_opened_at = -math.inf
        self._down_since: float | None = clock.monotonic()
        self._suspected_at = -math.inf
        self._preparing: asyncio.Task[None] | None = None
        self._checking: asyncio.Task[None] | None = None
        self._check_now = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._catalogue_read_at = -math.inf

    # what others ask

    @property
    def catalogue_version(self) -> int:
        """The same for runners of a pool that define the same, another one for each that differs; 0 while unknown."""
        return 0 if self.facts.definitions is None else self.facts.definitions.version

    @property
    def is_ready(self) -> bool:
        """True when the runner is up and may be given work, as far as its health goes."""
        return self.health.state is RunnerState.READY

    @property
    def takes_work(self) -> bool:
        """True when it is ready and the operator has it active."""
        return self.is_ready and self.config.status == "active"

    @property
    def capacity(self) -> int:
        """Jobs that it may hold at once: the one it runs and ``prefetch`` more; one, while it is on trial."""
        return 1 if self._prompts.is_on_trial or self._links.is_on_trial else 1 + self.config.prefetch

    @property
    def has_jobs_api(self) -> bool:
        """True from ComfyUI 0.26 on, which can cancel one job atomically (``POST /api/jobs/{id}/cancel``)."""
        return _version_tuple(self.facts.version) >= (0, 26)

    # life

    def start(self) -> None:
        """Opens the link and begins to check the health, in tasks that this object owns."""
        self.link.start()
        self._checking = asyncio.create_task(self._check_for_ever(), name=f"health {self.name}")

    async def stop(self) -> None:
        """Ends the tasks and closes every connection."""
        await self._rest()
        await self.client.close()

    async def retire(self, seconds: float) -> None:
        """Ends the tasks and the link; calls under way, such as a file on its way to a client, may take so long."""
        await self._rest()
        await self.client.retire(seconds)

    def reconfigure(self, config: RunnerConfig) -> None:
        """Takes over what can change in place: everything but the endpoint and the headers."""
        self.config = config.model_copy(update={"endpoint": self.config.endpoint, "headers": self.config.headers})
        Runner.changes += 1

    async def move_to(self, config: RunnerConfig) -> RunnerClient:
        """Gets a new client and a new link for another endpoint or other headers; ``start`` makes them connect.

        What is known of the runner stays until it is read anew. Returns the old client, which the caller closes.
        """
        await self._rest()
        old, self.client = self.client, _client_of(config, self._settings, self._rules)
        self.config = config
        Runner.changes += 1
        self.link = Link(self.client, self.link.sid, self)
        self._down_since = self._clock.monotonic()
        self._turn(RunnerState.CONNECTING, "its endpoint or its headers have changed")
        return old

    async def _rest(self) -> None:
        tasks = [task for task in (self._checking, self._preparing, self._reading) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.link.stop()

    def suspect(self, reason: str) -> None:
        """A call failed: no more work until a check has gone well.

        The check is made at once the first time; a runner that passes its checks and fails its calls again and again
        (as one behind a rate limit does, with 429) is left alone for longer and longer, and then tried with one job.
        """
        now = self._clock.monotonic()
        if self.is_ready:
            self._prompts.failed(now)
            self._turn(RunnerState.SUSPECT, reason)
        if now - self._suspected_at > self._settings.interval_seconds:
            self._check_now.set()
        self._suspected_at = now

    def took_a_prompt(self) -> None:
        """It has answered to a prompt, with yes or no: it works."""
        self._prompts.succeeded()

    def stuck(self, reason: str) -> None:
        """It answers, and its worker does nothing."""
        self._turn(RunnerState.STUCK, reason)

    def unstuck(self) -> None:
        """Its queue moves again, or is empty."""
        if self.health.state is RunnerState.STUCK:
            self._turn(RunnerState.CONNECTING, "its queue moves again")
            self._prepare()

    async def reopen_link(self, reason: str) -> None:
        """The link stands and is deaf: a new one takes its place."""
        log.warning("runner.link_deaf", runner=self.name, reason=reason)
        await self.link.reopen()

    def refresh_catalogue(self, *, older_than: float = 0.0) -> asyncio.Task[None] | None:
        """Reads /object_info again in a task of its own, unless what is known is younger than so many seconds.

        Returns the task, for whoever wants to wait (with ``asyncio.wait``: it must not be cancelled), None where there
        is nothing to read or to wait for. A failure leaves the catalogue as it is: whether the runner is gone is the
        health checks' to find out.
        """
        if self._reading is not None and not self._reading.done():
            return self._reading
        if not self.is_ready or self._clock.monotonic() - self._catalogue_read_at <= older_than:
            return None
        self._reading = asyncio.create_task(self._read_catalogue(), name=f"catalogue {self.name}")
        return self._reading

    # the link's side

    async def link_opened(self) -> None:
        """See LinkListener."""
        self.boot = next(_lives)
        self._link_opened_at = self._clock.monotonic()
        self._prepare()

    async def link_closed(self, reason: str) -> None:
        """See LinkListener."""
        if self._preparing is not None:
            self._preparing.cancel()
        now = self._clock.monotonic()
        if now - self._link_opened_at >= self._settings.grace_seconds:
            self._links.succeeded()  # it had stood: this is no flapping
        self._links.failed(now)
        if self.health.state is not RunnerState.LOST:
            self._turn(RunnerState.SUSPECT, f"link: {reason}")
        self._check_now.set()

    async def link_not_opened(self, reason: str) -> None:
        """See LinkListener."""
        if self.health.state is RunnerState.CONNECTING:
            self._turn(RunnerState.CONNECTING, f"link: {reason}")

    def link_message(self, message: Message) -> Awaitable[None] | None:
        """See LinkListener."""
        if message.type == "status":
            info = message.data.get("status", {}).get("exec_info", {})
            self.queue_remaining = int(info.get("queue_remaining", self.queue_remaining))
            return None
        return self._observer.runner_message(self, message)

    async def link_binary(self, frame: bytes) -> None:
        """See LinkListener."""
        await self._observer.runner_binary(self, frame)

    # becoming ready

    def _prepare(self) -> None:
        if self._preparing is not None and not self._preparing.done():
            self._preparing.cancel()
        self._preparing = asyncio.create_task(self._make_ready(), name=f"prepare {self.name}")

    async def _make_ready(self) -> None:
        """Reads what the runner is, lets its jobs be reconciled, and only then calls it ready."""
        try:
            await self._read_facts()
            await self._observer.runner_connected(self)
        except RunnerError as error:
            self._failed(error)
            return
        self._down_since = None
        if self.health.state is RunnerState.STUCK:
            return
        rest = self._rest_seconds()
        if rest > 0:
            self._turn(RunnerState.SUSPECT, f"it fails again and again: tried again in {rest:.1f} s")
            return
        self._turn(RunnerState.READY, f"ComfyUI {self.facts.version or 'of unknown version'} answers")

    async def _read_facts(self) -> None:
        stats = await self.client.get_json("/system_stats")
        features = await self.client.request("GET", "/features")
        if not isinstance(stats, dict):
            raise RunnerMisanswered(self.name, "answers, but not as ComfyUI does", 200)
        self.facts.system_stats = stats
        self.facts.version = str(stats.get("system", {}).get("comfyui_version", ""))
        self.facts.features = features.json() if features.status == 200 else {}
        self.facts.security_policy = features.headers.get("Content-Security-Policy", "")
        Runner.changes += 1
        await self._read_object_info()

    async def _read_catalogue(self) -> None:
        began = self._clock.monotonic()
        try:
            await self._read_object_info()
        except RunnerError as error:
            self._catalogue_read_at = began  # tried again after the usual time, not in a tight loop
            log.warning("runner.catalogue_not_read", runner=self.name, reason=error.reason)

    async def _read_object_info(self) -> None:
        reply = await self.client.request("GET", "/object_info", timeout=CATALOGUE_SECONDS)
        try:
            definitions = self._shelf.read(reply.body) if reply.status == 200 else None
        except ValueError:
            definitions = None
        if definitions is None:
            raise RunnerMisanswered(self.name, f"GET /object_info answered {reply.status}, no object", reply.status)
        self._catalogue_read_at = self._clock.monotonic()
        if definitions is self.facts.definitions:
            return
        self.facts.definitions = definitions
        Runner.changes += 1
        log.info("runner.catalogue", runner=self.name, node_classes=len(definitions.object_info))
        if self.is_ready:
            self._observer.pool_changed()

    # staying ready

    async def _check_for_ever(self) -> None:
        while True:
            self._check_now.clear()
            with suppress(TimeoutError):
                # Not wait_for: before Python 3.12 it loses a cancellation that comes together with what it waits for.
                async with asyncio.timeout(self._settings.interval_seconds):
                    await self._check_now.wait()
            try:
                await self._check()
            except Exception:  # a fault in what follows from a check must not end the checks
                log.error("runner.check_failed", runner=self.name, exc_info=True)

    async def _check(self) -> None:
        try:
            answer = await self.client.get_json("/prompt", timeout=self._settings.timeout_seconds)
            self.queue_remaining = int(answer["exec_info"]["queue_remaining"])
        except RunnerError as error:
            self._failed(error)
        except (KeyError, TypeError, ValueError):
            self._failed(RunnerMisanswered(self.name, "GET /prompt answers, but not as ComfyUI does", 200))
        else:
            await self._answered()
            return
        await self._give_up_after_grace()

    async def _answered(self) -> None:
        if not self.link.is_open:
            self._down_since = None
            if self.health.state is RunnerState.MISCONFIGURED:
                self._turn(RunnerState.CONNECTING, "answers again")
            self.link.retry_now()
        elif self.health.state is RunnerState.STUCK:
            self._down_since = None  # whether its queue moves is found out below
        elif not self.is_ready:
            if self._rest_seconds() > 0:
                self._down_since = None
            elif self._preparing is None or self._preparing.done():
                self._prepare()
            return
        else:
            if self._clock.monotonic() - self._link_opened_at >= self._settings.grace_seconds:
                self._links.succeeded()
            self.refresh_catalogue(older_than=self._settings.catalogue_seconds)
        try:
            await self._observer.runner_checked(self)  # without a link too: nothing else tells of the jobs there
        except RunnerError as error:
            self._failed(error)

    def _rest_seconds(self) -> float:
        now = self._clock.monotonic()
        return max(self._prompts.remaining(now), self._links.remaining(now))

    def _failed(self, error: RunnerError) -> None:
        if self._down_since is None:
            self._down_since = self._clock.monotonic()
        if isinstance(error, RunnerMisanswered) and error.status in REFUSALS:
            self._turn(RunnerState.MISCONFIGURED, f"{error.reason}: its headers in the configuration are not accepted")
        elif self.health.state is not RunnerState.LOST:
            self._turn(RunnerState.SUSPECT, error.reason)

    async def _give_up_after_grace(self) -> None:
        down = self._down_since
        if down is None or self.health.state is RunnerState.LOST:
            return
        if self._clock.monotonic() - down < self._settings.grace_seconds:
            return
        reason = f"gone for {self._settings.grace_seconds:g} s: {self.health.reason}"
        if self.health.state is not RunnerState.MISCONFIGURED:
            self._turn(RunnerState.LOST, reason)
        await self._observer.runner_lost(self, reason)

    def _turn(self, state: RunnerState, reason: str) -> None:
        was = self.health
        if was.state is state:
            was.reason = reason
            return
        self.health = Health(state, reason, self._clock.monotonic())
        Runner.changes += 1
        tell = log.info if state in (RunnerState.READY, RunnerState.CONNECTING) else log.warning
        tell("runner.state", runner=self.name, state=state.value, was=was.state.value, reason=reason)
        if RunnerState.READY in (state, was.state):
            self._observer.pool_changed()


def _client_of(config: RunnerConfig, health: HealthConfig, rules: EndpointRules | None) -> RunnerClient:
    return RunnerClient(
        config.name,
        config.endpoint,
        config.plain_headers(),
        connect_seconds=health.connect_seconds,
        rules=rules if isinstance(config, AddedRunner) else None,
    )


def _version_tuple(version: str) -> tuple[int, ...]:
    parts = []
    for part in version.lstrip("v").split("."):
        digits = "".join(character for character in part if character.isdigit())
        if not digits:
            break
        parts.append(int(digits))
    return tuple(parts)
