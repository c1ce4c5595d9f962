"""``/v1/runner``: the pool's runners, those of the configuration included. Who may use it manages all of them."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit
from uuid import UUID

from aiohttp import web
from pydantic import SecretStr, ValidationError

from gateway.access.callers import caller_of
from gateway.access.trail import audit
from gateway.api.idempotency import new_id
from gateway.api.services import Services, services
from gateway.api.v1.endpoint import endpoint
from gateway.api.v1.errors import ApiError, bad_request, not_found, of_validation
from gateway.api.v1.models import at
from gateway.api.v1.runner_models import (
    MASK,
    Emptying,
    Health,
    NewRunner,
    Recent,
    Runner,
    RunnerChange,
    Runners,
    RunnersPage,
    ShownStatus,
    masked,
    unmasked,
)
from gateway.api.v1.user import user_id
from gateway.api.v1.workflow_models import Workflow, compact
from gateway.jobs.fleet import UnknownRunner
from gateway.jobs.roster import Entry, NotChangeable
from gateway.runners.addresses import EndpointRefused, EndpointRules
from gateway.runners.errors import RunnerMisanswered
from gateway.runners.runner import RunnerState

INTERRUPT_SECONDS = 10.0
CONFIGURED = "this runner is in the gateway's configuration: only its status can be changed here"


async def list_runners(request: web.Request, query: RunnersPage) -> Runners:
    """The runners, newest first."""
    rooms = services(request)
    found = [entry for entry in rooms.roster.entries() if query.status in (None, _status(entry))]
    return Runners(runners=[_shown(rooms, entry) for entry in query.of(found)], total=len(found))


async def create_runner(request: web.Request, body: NewRunner) -> Runner:
    """Adds a runner to the pool.

    It is active at once, and takes work as soon as it has answered what it can run. One that cannot be reached is added
    too; ``health`` says what is wrong.
    """
    rooms, owner, runner_id = services(request), caller_of(request).owner, new_id(request)
    most = rooms.config.v1.max_runners
    if most is not None and rooms.roster.made_by(owner) >= most and rooms.roster.get(runner_id) is None:
        raise ApiError(403, "Runner limit exceeded for your tier")
    headers = _meant(body.headers or {}, {})
    try:
        entry = await rooms.roster.make(
            runner_id,
            owner,
            body.name,
            endpoint=_permitted(rooms, body.endpoint),
            tags=body.tags or (),
            headers=headers,
        )
    except ValidationError as error:
        raise of_validation(error) from None
    audit(request, "runner.create", entry.key, id=str(entry.id), endpoint=entry.config.endpoint)
    return _shown(rooms, entry)


async def get_runner(request: web.Request, runner_id: UUID) -> Runner:
    """One runner, with its health."""
    return _shown(services(request), _entry(request, runner_id))


async def update_runner(request: web.Request, runner_id: UUID, body: RunnerChange) -> Runner:
    """Changes a runner.

    Jobs that it runs go on. A disabled runner gets no new work, and what it has not begun goes elsewhere. With another
    host as endpoint, the values of its headers have to be sent too, or ``{}`` for none.
    """
    rooms, entry = services(request), _entry(request, runner_id)
    changes = {
        name: value
        for name, value in (
            ("endpoint", body.endpoint),
            ("tags", None if body.tags is None else tuple(body.tags)),
            ("headers", _headers(rooms, entry, body)),
            ("status", _new_status(entry, body.status)),
        )
        if value is not None
    }
    if body.endpoint is not None and body.endpoint != entry.config.endpoint and not entry.is_configured:
        changes["endpoint"] = _permitted(rooms, body.endpoint)
    try:
        changed = await rooms.roster.change(runner_id, name=body.name, **changes)
    except NotChangeable:
        raise ApiError(403, CONFIGURED) from None
    except ValidationError as error:
        raise of_validation(error) from None
    except (KeyError, UnknownRunner):
        raise not_found() from None
    audit(request, "runner.change", changed.key, id=str(changed.id), keys=sorted(changes))
    return _shown(rooms, changed)


async def drain_runner(request: web.Request, runner_id: UUID, query: Emptying) -> Runner:
    """Empties a runner: no new work, and what it still runs after a while moves to another one."""
    rooms = services(request)
    try:
        changed = await rooms.roster.change(runner_id, status="drain")
        if query.seconds is not None:
            rooms.fleet.drain(changed.key, query.seconds)
    except (KeyError, UnknownRunner):
        raise not_found() from None
    audit(request, "runner.drain", changed.key, id=str(changed.id))
    return _shown(rooms, changed)


async def delete_runner(request: web.Request, runner_id: UUID, query: Emptying) -> None:
    """Removes a runner from the pool.

    It leaves the list at once, and the pool when the job that it runs has ended or was moved.
    """
    entry = _entry(request, runner_id)
    try:
        await services(request).roster.remove(runner_id, query.seconds)
    except NotChangeable:
        raise ApiError(403, CONFIGURED) from None
    except KeyError:
        raise not_found() from None
    audit(request, "runner.remove", entry.key, id=str(entry.id))


async def interrupt_runner(request: web.Request, runner_id: UUID) -> None:
    """Interrupts whatever a runner runs now, whoever's it is."""
    entry = _entry(request, runner_id)
    runner = services(request).pool.get(entry.key)
    if runner is None:
        raise not_found()
    audit(request, "runner.interrupt", entry.key, id=str(entry.id))
    reply = await runner.client.request("POST", "/interrupt", json={}, timeout=INTERRUPT_SECONDS)
    if not reply.ok:
        raise RunnerMisanswered(runner.name, f"POST /interrupt answered {reply.status}", reply.status)


async def get_history(request: web.Request, runner_id: UUID, query: Recent) -> list[Workflow]:
    """The newest workflows that a runner was given: the caller's, or everyone's to an admin."""
    entry, caller = _entry(request, runner_id), caller_of(request)
    owner = None if caller.is_admin else caller.owner
    heads = await services(request).workflows.recent_on_runner(entry.key, owner=owner, limit=query.limit)
    return [compact(request, head) for head in heads]


def _entry(request: web.Request, runner_id: UUID) -> Entry:
    entry = services(request).roster.get(runner_id)
    if entry is None:
        raise not_found()
    return entry


def _permitted(rooms: Services, url: str) -> str:
    """The endpoint, where the configuration's rules permit it."""
    try:
        EndpointRules(rooms.config.endpoints.runner).check_url(url)
    except EndpointRefused as refused:
        raise bad_request(f"endpoint {refused}") from None
    return url


def _headers(rooms: Services, entry: Entry, body: RunnerChange) -> dict[str, SecretStr] | None:
    """The new headers, None where they stay. They are secrets: who cannot read them cannot have them sent elsewhere."""
    known = entry.config.plain_headers()
    kept = body.headers is None or any(value.get_secret_value() == MASK for value in body.headers.values())
    if kept and known and not rooms.config.v1.show_headers and _is_elsewhere(entry, body.endpoint):
        raise bad_request("endpoint is another server: send the values of its headers too, or {} for none")
    return None if body.headers is None else _meant(body.headers, known)


def _meant(sent: Mapping[str, SecretStr], known: Mapping[str, str]) -> dict[str, SecretStr]:
    try:
        return unmasked(sent, known)
    except KeyError as error:
        raise bad_request(f"headers.{error.args[0]} needs a value") from None


def _is_elsewhere(entry: Entry, url: str | None) -> bool:
    return url is not None and urlsplit(url)[:2] != urlsplit(entry.config.endpoint)[:2]


def _status(entry: Entry) -> ShownStatus:
    return "active" if entry.config.status == "active" else "disabled"


def _new_status(entry: Entry, wanted: ShownStatus | None) -> str | None:
    """None where it stays: a runner that is being drained is shown as disabled, and goes on being drained."""
    return None if wanted is None or wanted == _status(entry) else wanted


def _shown(rooms: Services, entry: Entry) -> Runner:
    config = entry.config
    headers = config.plain_headers()
    return Runner(
        id=entry.id,
        user_id=user_id(rooms.gateway_id, entry.owner),
        name=entry.name,
        status=_status(entry),
        endpoint=config.endpoint,
        tags=list(config.tags),
        headers=headers if rooms.config.v1.show_headers else masked(headers),
        created_at=at(entry.created_at),
        updated_at=at(entry.updated_at),
        key=entry.key,
        source="config" if entry.is_configured else "api",
        health=_health(rooms, entry),
    )


def _health(rooms: Services, entry: Entry) -> Health:
    runner = rooms.pool.get(entry.key)
    if runner is None:  # a reload has put it into the list a moment ago
        return Health(up=False, state="connecting", reason="not connected yet", since=at(rooms.clock.wall_ms()))
    state = runner.health.state
    since = at(rooms.overview.runner(runner)["since"])
    return Health(up=state is RunnerState.READY, state=state.value, reason=runner.health.reason, since=since)


ENDPOINTS = [
    endpoint("GET", "/v1/runner", list_runners, tag="runner", scope="manage"),
    endpoint(
        "POST",
        "/v1/runner",
        create_runner,
        tag="runner",
        scope="manage",
        status=201,
        errors={
            400: "The name is empty or too long, the endpoint is no URL, there are too many tags, …",
            403: "The token lacks the scope manage, or there are too many runners.",
        },
        creates=True,
    ),
    endpoint(
        "GET", "/v1/runner/{runner_id}", get_runner, tag="runner", scope="manage", errors={404: "No such runner."}
    ),
    endpoint(
        "PUT",
        "/v1/runner/{runner_id}",
        update_runner,
        tag="runner",
        scope="manage",
        errors={403: CONFIGURED, 404: "No such runner."},
    ),
    endpoint(
        "DELETE",
        "/v1/runner/{runner_id}",
        delete_runner,
        tag="runner",
        scope="manage",
        errors={403: CONFIGURED, 404: "No such runner."},
    ),
    endpoint(
        "POST",
        "/v1/runner/{runner_id}/interrupt",
        interrupt_runner,
        tag="runner",
        scope="manage",
        errors={404: "No such runner.", 500: "The runner did not answer."},
    ),
    endpoint(
        "GET",
        "/v1/runner/{runner_id}/history",
        get_history,
        tag="runner",
        scope="manage",
        errors={404: "No such runner."},
    ),
    endpoint(
        "POST",
        "/v1/runner/{runner_id}/drain",
        drain_runner,
        tag="runner",
        scope="manage",
        errors={404: "No such runner."},
    ),
]
