"""The bodies of ``/gateway/…`` as the OpenAPI document shows them. Times are milliseconds since the epoch; what makes
these answers is elsewhere, and tests hold the two together."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.jobs.hooks import Event


class Told(BaseModel):
    """A body that is answered."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class Fault(Told):
    """What went wrong, as ComfyUI words it."""

    type: str = Field(description="For programs.")
    message: str
    details: str
    extra_info: dict[str, Any]


class NativeError(Told):
    """ComfyUI's form of errors, which the gateway's own routes outside of /v1 share."""

    error: Fault
    node_errors: dict[str, Any] = Field(description="Of prompts only: what is wrong, node by node.")


class Healthy(Told):
    """The process answers."""

    status: Literal["ok"]


class Ready(Told):
    """It can take work."""

    status: Literal["ready"]


class NotReady(BaseModel):
    """It cannot, and why not, where the caller may know."""

    status: Literal["not ready"]
    reasons: list[str] | None = None


class Change(Told):
    """One turn of a job or of an attempt; other fields depend on it."""

    model_config = ConfigDict(extra="allow")


class AttemptTold(Told):
    """One dispatch of a job to a runner."""

    ordinal: int
    runner: str
    runner_prompt_id: str = Field(description="The id that the runner knows it by.")
    state: str
    reason: str | None
    created_at: int
    started_at: int | None
    ended_at: int | None
    changes: list[Change]


class RunnerConsidered(Told):
    """What was found of one runner for a job that waits."""

    runner: str
    reason: str


class PlacementTold(Told):
    """Where a waiting job could go, and why not elsewhere."""

    runner: str | None
    reason: str
    runners: list[RunnerConsidered]


class ExpectedTold(Told):
    """When a job is expected to begin and to end. Nine of ten such jobs end between ``earliest`` and ``latest``."""

    start: int
    end: int
    earliest: int
    latest: int


class JobTold(Told):
    """The whole story of a job."""

    id: str
    state: str
    reason: str | None
    owner: str
    client_id: str | None
    workflow_id: str | None
    number: float
    tags: list[str]
    runner: str | None
    created_at: int
    started_at: int | None
    ended_at: int | None
    deleted: bool
    changes: list[Change]
    position: int | None = Field(description="Its place in the line, from 1.")
    expected: ExpectedTold | None = Field(description="Null where nothing is known of such jobs yet.")
    refused_by: dict[str, str] = Field(description="The words of runners that refused it.")
    placement: PlacementTold | None
    attempts: list[AttemptTold]


class LeavingTold(Told):
    """How a runner is being emptied."""

    deadline: int | None
    removes: bool


class RunnerTold(Told):
    """A runner as its operator sees it."""

    name: str
    endpoint: str
    status: Literal["active", "disabled", "drain"]
    state: Literal["connecting", "ready", "suspect", "lost", "stuck", "misconfigured"]
    reason: str
    since: int
    takes_work: bool
    version: str | None = Field(description="ComfyUI's.")
    tags: list[str]
    weight: float
    capacity: int
    held: int
    jobs: list[str]
    running: str | None
    queue: int
    latency_seconds: float
    link_open: bool
    node_classes: int
    leaving: LeavingTold | None


class KeptModelTold(Told):
    """A model that is loaded again by a job of the gateway's own where no runner has it any more."""

    model: str
    state: Literal["loaded", "waiting", "loading", "pausing", "given_up"]
    tries: int = Field(description="In a row that have loaded nothing.")
    job: str | None = Field(description="The newest, for an admin; null once the model is loaded.")
    runners: list[str] = Field(description="Those that have it loaded.")


class RunnersTold(Told):
    """Every runner, in the order of the configuration, then those made over the API."""

    runners: list[RunnerTold]
    keep_warm: list[KeptModelTold]


class LimitsTold(Told):
    """A token's own limits; null: those of the configuration."""

    rate: int | None
    pending: int | None
    running: int | None
    sockets: int | None
    body_bytes: int | None
    max_stored_bytes: int | None


class HookTold(Told):
    """A receiver of events."""

    url: str
    events: list[Event]


class TokenTold(Told):
    """A token without its secret."""

    id: str
    name: str
    owner: str
    state: Literal["live", "expired", "revoked"]
    scopes: list[Literal["run", "manage", "admin"]]
    tags: list[str]
    weight: float
    priority_ceiling: int | None
    limits: LimitsTold
    created_at: int
    expires_at: int | None
    last_used_at: int | None
    revoked_at: int | None
    replaced_by: str | None
    webhook: HookTold | None = Field(description="Where the events of its jobs are sent.")


class NewToken(TokenTold):
    """A token that was made just now."""

    token: str = Field(description="Its secret, which nobody can get a second time.")


class TokensTold(Told):
    """Tokens, dead ones too."""

    tokens: list[TokenTold]


class AuditLine(Told):
    """What somebody did."""

    id: int
    at: int
    token_id: str | None
    token_name: str | None
    owner: str
    address: str | None
    action: str = Field(examples=["runner.create"])
    target: str
    detail: dict[str, Any]


class AuditPage(Told):
    """The newest line first."""

    entries: list[AuditLine]
    next: int | None = Field(description="The before of the next page; null at the end.")


class LoginForm(BaseModel):
    """The login page's form."""

    token: str
    next: str = Field("", description="The path to go to afterwards.")
