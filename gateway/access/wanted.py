"""What may be asked of a token when it is made or changed: models of a request's body, made by the command line too.

A fault names its field and never holds the value.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from gateway.access.secrets import without_secrets
from gateway.access.token import Token, TokenLimits
from gateway.clock import DAY_MS
from gateway.config.values import Int, Number, Tag, value_fault, words_of
from gateway.jobs.hooks import ALL, Event, Hook

OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
LONGEST_LIFE_DAYS = 3_650

Scope = Literal["run", "manage", "admin"]


def _owner(text: str) -> str:
    if not OWNER.fullmatch(text):
        raise value_fault("must be 1 to 64 letters, digits, '.', '_', '@', '+' or '-', starting with a letter or digit")
    return text


def _name(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise value_fault("must be printable, and not blank")
    return text


def _once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))


def _scopes(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise value_fault("must name at least one")
    return _once(values)


Owner = Annotated[str, AfterValidator(_owner)]
Name = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_name)]
Scopes = Annotated[tuple[Scope, ...], AfterValidator(_scopes)]
Tags = Annotated[tuple[Tag, ...], Field(max_length=100), AfterValidator(_once)]
Weight = Annotated[Number, Field(gt=0, le=1_000)]
Priority = Annotated[Int, Field(ge=-1_000_000, le=1_000_000)]
Days = Annotated[Number, Field(gt=0, le=LONGEST_LIFE_DAYS)]


class Body(BaseModel):
    """A mapping whose keys are known."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class LimitsBody(Body):
    """A token's own limits; null or left out: those of the configuration. Requests a minute; jobs; websockets;
    bytes of a request, of the owner's files."""

    rate: Annotated[Int, Field(ge=1, le=1_000_000)] | None = None
    pending: Annotated[Int, Field(ge=0, le=10_000_000)] | None = None
    running: Annotated[Int, Field(ge=0, le=100_000)] | None = None
    sockets: Annotated[Int, Field(ge=0, le=100_000)] | None = None
    body_bytes: Annotated[Int, Field(ge=1_024, le=1 << 40)] | None = None
    max_stored_bytes: Annotated[Int, Field(ge=0, le=1 << 50)] | None = None

    def limits(self) -> TokenLimits:
        """As a token keeps them."""
        return TokenLimits(**self.model_dump())


class WebhookBody(Body):
    """Where the events of a token's jobs are sent, and which; a URL alone means all of them."""

    url: Annotated[str, Field(min_length=1, max_length=2_048)]
    events: Annotated[tuple[Event, ...], Field(min_length=1), AfterValidator(_once)] = ALL

    def hook(self) -> Hook:
        """As a token keeps it."""
        return Hook(self.url, tuple(event for event in Event if event in self.events))


def _url_alone(value: Any) -> Any:
    return {"url": value} if isinstance(value, str) else value


Webhook = Annotated[WebhookBody, BeforeValidator(_url_alone)]


class TokenBody(Body):
    """``POST /gateway/api/tokens``. Without an owner it is the name, so that has to be fit for one."""

    name: Name
    owner: Owner | None = None
    scopes: Scopes = ("run",)
    tags: Tags = ()
    weight: Weight = 1.0
    priority_ceiling: Priority | None = None
    limits: LimitsBody = LimitsBody()
    expires_in_days: Days | None = None
    webhook: Webhook | None = None

    @model_validator(mode="after")
    def _owned(self) -> Self:
        if self.owner is None and not OWNER.fullmatch(self.name):
            raise value_fault("owner is required, because the name is not fit for one")
        return self

    def token(self, now: int) -> Token:
        """As it is to be made; its id and its time are given then. ``now`` in milliseconds."""
        return Token(
            id="",
            name=self.name,
            owner=self.owner or self.name,
            scopes=frozenset(self.scopes),
            created_at=now,
            tags=self.tags,
            weight=self.weight,
            priority_ceiling=self.priority_ceiling,
            limits=self.limits.limits(),
            expires_at=_ends(now, self.expires_in_days),
            webhook=None if self.webhook is None else self.webhook.hook(),
        )


def _without_defaults(schema: dict[str, Any]) -> None:
    for field in schema["properties"].values():
        field.pop("default", None)


class ChangeBody(Body):
    """``PATCH /gateway/api/tokens/{id}``: what is left out stays, so the defaults are never used; ``expires_in_days``
    counts from now, null: never."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    name: Name = ""
    scopes: Scopes = ()
    tags: Tags = ()
    weight: Weight = 1.0
    priority_ceiling: Priority | None = None
    limits: LimitsBody = LimitsBody()
    expires_in_days: Days | None = None
    webhook: Webhook | None = None

    def applied_to(self, token: Token, now: int) -> Token:
        """The token with these changes. ``now`` in milliseconds."""
        values: dict[str, Any] = {
            "name": self.name,
            "scopes": frozenset(self.scopes),
            "tags": self.tags,
            "weight": self.weight,
            "priority_ceiling": self.priority_ceiling,
            "limits": self.limits.limits(),
            "expires_at": _ends(now, self.expires_in_days),
            "webhook": None if self.webhook is None else self.webhook.hook(),
        }
        given = {"expires_at" if name == "expires_in_days" else name for name in self.model_fields_set}
        return replace(token, **{name: value for name, value in values.items() if name in given})


class RotationBody(Body):
    """``POST /gateway/api/tokens/{id}/rotate``: how long the old token lives on, else as the configuration says."""

    grace_hours: Annotated[Number, Field(ge=0, le=8_760)] | None = None


def told(token: Token, now: int) -> dict[str, Any]:
    """A token as listings show it: without its secret, which nobody has any more. Times in milliseconds, as ``now``."""
    return {
        "id": token.id,
        "name": token.name,
        "owner": token.owner,
        "state": "revoked" if token.revoked else "expired" if token.expired(now) else "live",
        "scopes": sorted(token.scopes),
        "tags": list(token.tags),
        "weight": token.weight,
        "priority_ceiling": token.priority_ceiling,
        "limits": {
            "rate": token.limits.rate,
            "pending": token.limits.pending,
            "running": token.limits.running,
            "sockets": token.limits.sockets,
            "body_bytes": token.limits.body_bytes,
            "max_stored_bytes": token.limits.max_stored_bytes,
        },
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "last_used_at": token.last_used_at,
        "revoked_at": token.revoked_at,
        "replaced_by": token.replaced_by,
        "webhook": None if token.webhook is None else token.webhook.as_json(),
    }


def _ends(now: int, days: float | None) -> int | None:
    return None if days is None else now + round(days * DAY_MS)


def faults_of(error: ValidationError) -> dict[str, str]:
    """Each field, as ``limits.rate`` or ``scopes.0`` ("" for the whole), and what is wrong about it."""
    details = error.errors(include_url=False, include_input=False)
    # A name that is not known is told again: it must not be a token in the wrong place.
    return {without_secrets(".".join(str(part) for part in each["loc"])): _words(each) for each in details}


def _words(fault: ErrorDetails) -> str:
    match fault["type"]:
        case "extra_forbidden":
            return "is not known"
        case _:
            return words_of(fault)
