"""Accepting a prompt: durable and validated before the client has its 200.

1. the job is registered, and stored together with the intent to give it to a runner
2. a runner that fits and has a free slot (and no waiting job that is due first): it is posted there, for good
   all that fit are busy: it is posted to the one that answers fastest, behind everything, and taken back at once
   its client's jobs run one at a time, and it is not the first, or its owner's running ones are as many as may be: it
   is posted behind one of these, and taken back
   none fits: the healthiest one is asked, so that the client reads ComfyUI's own error
   none can be reached: the gateway's own checks decide
3. the runner's 400 is the client's 400, and the job leaves no trace
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakValueDictionary

import structlog

from gateway.clock import Clock
from gateway.comfyui import errors, graph, jobs_api, json_text, validation
from gateway.comfyui.catalogue import Catalogue
from gateway.config import QueueConfig
from gateway.jobs import asked
from gateway.jobs.content import Content
from gateway.jobs.dispatch import Dispatcher
from gateway.jobs.history import History
from gateway.jobs.hooks import Hook, HookRefused, merged
from gateway.jobs.job import Attempt, Job, Options
from gateway.jobs.post import Accepted, InDoubt, Outcome, Refused
from gateway.jobs.receivers import Receivers
from gateway.jobs.registry import Registry
from gateway.jobs.secrets import Secrets
from gateway.jobs.states import AttemptState, JobState
from gateway.jobs.terms import NO_TERMS, Terms
from gateway.runners.pool import Pool
from gateway.runners.runner import RunnerState
from gateway.scheduling import placement
from gateway.scheduling.placement import RunnerView
from gateway.scheduling.tagging import Tagging
from gateway.storage import jobs as job_rows
from gateway.storage.database import Database
from gateway.storage.errors import StorageError
from gateway.storage.words import storable

log = structlog.get_logger(__name__)

RETRY_AFTER_SECONDS = 5
FORGETTING_SECONDS = 5.0  # a refused prompt's client waits at most so long for the database
FORGETTING_PAUSE_SECONDS = 0.05
FIRST_CONTACT_SECONDS = 2.0  # a prompt waits for a runner to be made ready, while none has been since the start


@dataclass(frozen=True, slots=True)
class Answer:
    """What ``POST /prompt`` answers. ``runner`` and ``job`` say who it concerns."""

    status: int
    body: bytes
    content_type: str = "application/json"
    runner: str | None = None
    job: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


class Submissions:
    """Takes prompts in.

    ``runs_alone`` tells of an owner and a client id whether that client's jobs are to run one at a time,
    ``pending_most`` of an owner how many of its jobs may be there that have not ended, ``share_of`` of an owner and the
    priority that a job asks for its weight and the priority that it gets.
    """

    def __init__(
        self,
        registry: Registry,
        past: History,
        pool: Pool,
        dispatcher: Dispatcher,
        db: Database,
        clock: Clock,
        *,
        bounds: QueueConfig,
        secrets: Secrets,
        receivers: Receivers,
        tagging: Tagging,
    ) -> None:
        self.runs_alone: Callable[[str, str], bool] = lambda owner, client_id: False
        self.pending_most: Callable[[str], int | None] = lambda owner: None
        self.share_of: Callable[[str, int], tuple[float, int]] = lambda owner, priority: (1.0, priority)
        self._registry = registry
        self._past = past
        self._pool = pool
        self._dispatcher = dispatcher
        self._db = db
        self._clock = clock
        self._bounds = bounds
        self._secrets = secrets
        self._receivers = receivers
        self._tagging = tagging
        self._is_open = True
        self._named: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._first_contact = asyncio.Event()
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def is_open(self) -> bool:
        """False once the gateway is stopping."""
        return self._is_open

    async def drain(self) -> None:
        """No more prompts are accepted from now on; returns when those under way have their answer."""
        self._is_open = False
        await self._idle.wait()

    async def submit(self, request: Mapping[str, Any], owner: str, terms: Terms = NO_TERMS) -> Answer:
        """Handles the body of ``POST /prompt`` (ComfyUI server.py post_prompt), on these terms.

        Raises ValueError, TypeError where ComfyUI's handler fails too (a ``number`` that is none): its 500.
        """
        if not self._is_open:
            return _refusal(503, errors.gateway_stopping(), {"Retry-After": str(RETRY_AFTER_SECONDS)})
        self._under_way += 1
        self._idle.clear()
        try:
            return await self._submit(request, owner, terms)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    def runners_changed(self) -> None:
        """A runner is ready, or is not any more."""
        if any(runner.facts.catalogue is not None for runner in self._pool):
            self._first_contact.set()

    async def first_contact(self, seconds: float) -> None:
        """Waits until a runner has been made ready since the gateway's start, at most so long, and not at all where
        none is about to be."""
        if any(runner.health.state is RunnerState.CONNECTING for runner in self._pool):
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._first_contact.wait()

    async def _submit(self, request: Mapping[str, Any], owner: str, terms: Terms) -> Answer:
        if not self._first_contact.is_set():
            await self.first_contact(FIRST_CONTACT_SECONDS)
        number = self._number(request)
        if "prompt" not in request:
            return _refusal(400, errors.no_prompt())
        try:
            terms = replace(terms, hooks=merged([*terms.hooks, *await self._own_hooks(request)]))
        except HookRefused as refused:
            return _refusal(400, errors.invalid_webhook(str(refused)))
        wanted = request.get("prompt_id")
        if not isinstance(wanted, str) or self._registry.get(wanted) is not None:
            return await self._take(request, owner, terms, number)
        # Of several that choose the same id at once, the next one is looked at when the one before has its answer: it
        # could have ended, and have left the registry, while the database was asked for it.
        async with self._named.setdefault(wanted, asyncio.Lock()):
            return await self._take(request, owner, terms, number)

    async def _take(self, request: Mapping[str, Any], owner: str, terms: Terms, number: float) -> Answer:
        job_id, refusal = await self._job_id(request, owner)
        if refusal is not None:
            return refusal
        job = self._job(job_id, number, request, owner, terms)
        full = self.full(job.owner, job.client_id)
        if full is not None:
            return _refusal(429, full, {"Retry-After": str(RETRY_AFTER_SECONDS)})
        self._registry.add(job)
        try:
            return await self._accept_or_refuse(job)
        except StorageError as error:
            log.error("job.not_accepted", job=job.id, reason=str(error))
            self._give_up(job)
            await self._forgotten(job)
            body = errors.error_body("storage_unavailable", "The gateway cannot store prompts now", str(error))
            return _refusal(503, body, {"Retry-After": str(RETRY_AFTER_SECONDS)})
        finally:
            self._give_up(job)

    def _give_up(self, job: Job) -> None:
        """Nothing, where it is known already what becomes of the job."""
        if job.state is JobState.SUBMITTING:
            if job.attempt is not None:
                self._dispatcher.abandon(job.attempt, "its submission failed")
            self._registry.turn(job, JobState.REFUSED, "not accepted")

    async def _forgotten(self, job: Job) -> None:
        """The row of a job that was refused is gone before its client hears so: a crash before that would have the job
        run, and its client sends it again. Where the database stays away, the client hears of it all the same."""
        if not job.has_row:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(FORGETTING_SECONDS):
                while True:
                    with suppress(StorageError):
                        await self._db.flushed()
                        return
                    await asyncio.sleep(FORGETTING_PAUSE_SECONDS)

    # the parts of a submission

    def full(self, owner: str, client_id: str | None, *, more: int = 0, more_of_all: int = 0) -> dict[str, Any] | None:
        """The refusal where no more jobs are taken, of anybody, of this client or of this owner; None where they are.

        ``more`` of the owner's, and ``more_of_all`` of everyone's, are to be submitted besides those that have been.
        """
        if self._registry.taken + more_of_all >= self._bounds.max_pending:
            return errors.queue_full(self._bounds.max_pending)
        most = self._bounds.max_pending_per_client
        if most is not None and self._registry.taken_of(owner, client_id) + more >= most:
            return errors.client_queue_full(most)
        most = self.pending_most(owner)
        if most is not None and self._registry.taken_of_owner(owner) + more >= most:
            return errors.owner_queue_full(most)
        return None

    def _number(self, request: Mapping[str, Any]) -> float:
        """The order in the queue; the pool's counter advances with every prompt that brings no number of its own."""
        given = asked.number(request)
        if given is not None:
            return given
        number = self._registry.next_number()
        return -number if request.get("front") else number

    async def _job_id(self, request: Mapping[str, Any], owner: str) -> tuple[str, Answer | None]:
        """The job's id, or the refusal of the one that the client has chosen. Ids are unique among all owners, and a
        refusal does not tell that another owner has one of that name."""
        wanted = request.get("prompt_id")
        if wanted is None:
            return str(uuid.uuid4()), None
        if not isinstance(wanted, str) or not 0 < len(wanted) <= errors.LONGEST_PROMPT_ID or storable(wanted) != wanted:
            return "", _refusal(400, errors.invalid_prompt_id())
        # The registry is asked last, so that nothing happens between its answer and the job's registration.
        taken_by = await self._owner_of_stored(wanted)
        live = self._registry.get(wanted)
        if live is not None:
            taken_by = live.owner
        if taken_by is None:
            return wanted, None
        return "", _refusal(
            400, errors.duplicate_prompt_id(wanted) if taken_by == owner else errors.no_good_prompt_id()
        )

    async def _own_hooks(self, request: Mapping[str, Any]) -> list[Hook]:
        """The webhooks that the prompt itself asks for. Raises HookRefused."""
        return [await self._receivers.check(hook) for hook in asked.hooks(request.get("extra_data"))]

    async def _owner_of_stored(self, job_id: str) -> str | None:
        if await job_rows.owner_of(self._db, job_id) is None:
            return None
        await self._db.flushed()  # the row of a refused prompt may be about to go
        return await job_rows.owner_of(self._db, job_id)

    def _job(self, job_id: str, number: float, request: Mapping[str, Any], owner: str, terms: Terms) -> Job:
        prompt = asked.graph_of(request["prompt"])
        given = request.get("extra_data")
        given = given if isinstance(given, dict) else {}
        client_id = asked.client_id(request, given)
        now = self._clock.wall_ms()
        secrets = self._secrets.of(given)
        tags = tuple(dict.fromkeys([*asked.tags(given), *terms.tags, *self._tagging.tags_of(prompt)]))
        weight, priority = self.share_of(owner, asked.priority(given))
        workflow_id = jobs_api.workflow_id(given)
        job = Job(
            id=job_id,
            seq=self._registry.next_job_seq(),
            number=number,
            owner=owner,
            client_id=client_id,
            content=Content(prompt, asked.kept(given, client_id, now)),
            secrets=secrets,
            sealed=self._secrets.sealed(job_id, secrets),
            options=Options(
                request.get("partial_execution_targets"),
                tags,
                runs_alone=bool(client_id and self.runs_alone(owner, client_id)),
                retries=asked.retries(given),
                priority=priority,
                weight=weight,
                hooks=terms.hooks,
            ),
            needs=self._dispatcher.drawing.needs(prompt, frozenset(tags), owner),
            created_at=now,
            workflow_id=workflow_id if isinstance(workflow_id, str) else None,
        )
        self._dispatcher.drawing.appraise(job)
        return job

    # finding a runner that validates it

    async def _accept_or_refuse(self, job: Job) -> Answer:
        self._dispatcher.schedule()  # what waits and is due first has the free slots
        tried: set[str] = set()
        while (chosen := self._choose(job, frozenset(tried))) is not None:
            runner, probe = chosen
            attempt = self._registry.new_attempt(job, runner, probe=probe)
            await self._store(job, attempt, is_first=not tried)
            tried.add(runner)
            outcome = await self._dispatcher.send(attempt, at_the_end=probe)
            answer = await self._conclude(job, attempt, outcome, frozenset(tried))
            if answer is not None:
                return answer
        return await self._accept_unasked(job)

    def _choose(self, job: Job, tried: frozenset[str]) -> tuple[str, bool] | None:
        """The runner to ask, and whether it is only to validate. None: nobody can be asked."""
        candidates = self._dispatcher.eligible(job, but=tried)
        if candidates and self._registry.must_wait(job):
            return self._where_it_cannot_begin(job, candidates)
        placed = self._dispatcher.place(job, but=tried)
        if placed is not None:
            return placed, False
        fastest = placement.most_responsive([view for view in candidates if view.held] or candidates)
        if fastest is not None:
            return fastest.name, True
        if tried:
            return None
        if self._dispatcher.could_wait_for_one(job):
            return None
        # It stays where it is accepted all the same: by the catalogues no other runner would have it.
        healthiest = placement.most_responsive(placement.reachable(job.needs, self._dispatcher.views()))
        return None if healthiest is None else (healthiest.name, False)

    def _where_it_cannot_begin(self, job: Job, candidates: list[RunnerView]) -> tuple[str, bool] | None:
        """For a job that must wait: only behind what it waits for is it certain to be validated and not begun."""
        hosts = self._registry.runners_before(job)
        host = placement.most_responsive([view for view in candidates if view.name in hosts])
        return None if host is None else (host.name, True)

    async def _store(self, job: Job, attempt: Attempt, *, is_first: bool) -> None:
        try:
            if is_first:
                await self._registry.store_submission(job, attempt)
            else:
                await self._registry.store_attempt(attempt)
        except StorageError:
            self._registry.turn_attempt(attempt, AttemptState.UNDELIVERED, "could not be stored")
            raise

    async def _conclude(self, job: Job, attempt: Attempt, outcome: Outcome, tried: frozenset[str]) -> Answer | None:
        """Draws the consequence of what the runner said. None: another one is to be asked."""
        if job.state is JobState.SUBMITTING and not attempt.is_open:
            return None  # the runner was lost while it was asked
        if isinstance(outcome, Accepted):
            await self._accepted(job, attempt, outcome)
            if job.state is JobState.SUBMITTING:
                return None  # the runner was lost before it had given the prompt back
            return self._ok(job, attempt.runner, outcome.node_errors)
        if isinstance(outcome, Refused):
            self._registry.turn_attempt(attempt, AttemptState.REFUSED, outcome.words)
            if outcome.status >= 500 and self._choose(job, tried) is not None:
                return None  # the runner failed; whether the prompt is valid, another one knows
            log.info("prompt.refused", job=job.id, runner=attempt.runner, reason=outcome.words)
            self._registry.turn(job, JobState.REFUSED, outcome.words)
            await self._forgotten(job)
            return Answer(outcome.status, outcome.body, outcome.content_type, attempt.runner, job.id)
        if isinstance(outcome, InDoubt):
            return await self._in_doubt(job, attempt, outcome)
        if attempt.is_open:
            self._registry.turn_attempt(attempt, AttemptState.UNDELIVERED, outcome.reason)
        return None

    async def _in_doubt(self, job: Job, attempt: Attempt, outcome: InDoubt) -> Answer | None:
        was_probe = attempt.state is AttemptState.PROBING
        with suppress(StorageError):  # of an end that was found: reconciling finds it again
            await self._dispatcher.resolve_doubt(attempt, outcome)
        if job.state is JobState.SUBMITTING and not attempt.is_open:
            return None
        # It may be running: never sent twice, so accepted, and its runner will tell.
        job.was_accepted = True
        job.outputs_to_execute = _outputs_to_execute(job, {}, self._pool.catalogue())
        self._settle_state(job)
        if was_probe and attempt.state is AttemptState.HELD:
            await self._take_back(attempt)
        return self._ok(job, attempt.runner, {})

    async def _accepted(self, job: Job, attempt: Attempt, outcome: Accepted) -> None:
        """The job is DISPATCHED, or waits once it was taken back; a probe that is lost leaves it as it was."""
        job.was_accepted = True
        job.outputs_to_execute = _outputs_to_execute(job, outcome.node_errors, self._pool.catalogue())
        if attempt.state is AttemptState.PROBING:
            await self._take_back(attempt)
        elif attempt.is_open:
            self._dispatcher.held(attempt)
        if attempt.is_open:
            self._settle_state(job)

    async def _take_back(self, attempt: Attempt) -> None:
        """The prompt is accepted: an end that is found now and cannot be stored is no refusal of it. Reconciling finds
        it again."""
        try:
            with suppress(StorageError):
                await self._dispatcher.withdraw(attempt)
        finally:
            self._dispatcher.held(attempt)  # nothing, unless its runner did not say where it stands

    def _settle_state(self, job: Job) -> None:
        if job.state is JobState.SUBMITTING:
            self._registry.turn(job, JobState.DISPATCHED, "validated")

    async def _accept_unasked(self, job: Job) -> Answer:
        """No runner can be asked: the gateway's own checks decide, by the catalogues that it knows."""
        catalogues = [runner.facts.catalogue for runner in self._pool if runner.facts.catalogue is not None]
        error, node_errors, outputs = validation.check(job.prompt, job.options.partial_execution_targets, catalogues)
        if error is not None:
            self._registry.turn(job, JobState.REFUSED, str(error.get("message")))
            await self._forgotten(job)
            return _refusal(400, {"error": error, "node_errors": node_errors})
        if not self._dispatcher.could_wait_for_one(job):
            self._registry.turn(job, JobState.REFUSED, "no runner")
            await self._forgotten(job)
            unfit = self._dispatcher.unfit(job)
            if unfit is not None:
                return _refusal(400, errors.no_runner_fits(unfit))
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self._dispatcher.explain(job).considered)
            return _refusal(503, errors.no_runner_available(reasons), {"Retry-After": str(RETRY_AFTER_SECONDS)})
        job.outputs_to_execute = list(outputs)
        await self._registry.store_acceptance(job)
        job.was_accepted = True
        self._registry.turn(job, JobState.PENDING, "accepted on the gateway's own checks: no runner could be asked")
        self._dispatcher.schedule()
        return self._ok(job, None, node_errors)

    def _ok(self, job: Job, runner: str | None, node_errors: Mapping[str, Any]) -> Answer:
        body = {"prompt_id": job.id, "number": job.number, "node_errors": node_errors}
        return Answer(200, json_text.dumps(body).encode(), runner=runner, job=job.id)


def _refusal(status: int, body: Mapping[str, Any], headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, json_text.dumps(body).encode(), headers=headers or {})


def _outputs_to_execute(job: Job, node_errors: Mapping[str, Any], catalogue: Catalogue) -> list[str]:
    """The output nodes that the runner will run: all that were asked for and that it did not complain about."""
    failing = set(node_errors)
    for errors_of_node in node_errors.values():
        failing.update(map(str, errors_of_node.get("dependent_outputs") or ()))
    targets = job.options.partial_execution_targets
    return [
        node_id
        for node_id, class_type, _ in graph.nodes(job.prompt)
        if class_type in catalogue.classes
        and catalogue.classes[class_type].output_node
        and node_id not in failing
        and (not isinstance(targets, list) or node_id in targets)
    ]
