"""The bodies of ``/v1/runner``: what is sent, what is answered, and headers that are masked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field, SecretStr, StringConstraints

from gateway.api.v1.models import Request, View
from gateway.api.v1.pagination import Page
from gateway.config.values import Endpoint, HeaderName, HeaderValue, Tag

MASK = "********"
TAGS_MOST = 10
HEADERS_MOST = 32

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
Headers = Annotated[dict[HeaderName, HeaderValue], Field(max_length=HEADERS_MOST)]
Tags = Annotated[list[Tag], Field(max_length=TAGS_MOST)]
ShownStatus = Literal["active", "disabled"]


class NewRunner(Request):
    """A runner to be made."""

    name: Name = Field(description="For people; need not be unique.", examples=["My GPU server"])
    endpoint: Endpoint = Field(description="An http or https URL of a ComfyUI.", examples=["http://10.0.0.11:8188"])
    headers: Headers | None = Field(
        None,
        description="Sent with every request to this runner, and to no other.",
        examples=[{"Authorization": "Bearer secret"}],
    )
    tags: Tags | None = Field(None, description="A job's tags must all be among them.", examples=[["sdxl", "a100"]])


class RunnerChange(Request):
    """What is to change; what is left out or null stays. ``headers`` and ``tags`` are replaced as a whole."""

    name: Name | None = None
    endpoint: Endpoint | None = None
    headers: Headers | None = Field(None, description=f"A value of {MASK}, as it is read, keeps the header's value.")
    tags: Tags | None = None
    status: ShownStatus | None = Field(None, description="Only active runners get new work.")


class RunnersPage(Page):
    """Which runners to list."""

    status: ShownStatus | None = Field(None, description="Only those of this status.")


class Emptying(BaseModel):
    """How a runner is emptied."""

    seconds: float | None = Field(
        None,
        ge=0,
        le=86_400,
        description="What it still runs then moves to another runner; the configuration's failover.drain_seconds.",
    )


class Recent(BaseModel):
    """How much of a runner's history."""

    limit: int = Field(10, ge=1, le=100, description="How many at most.")


class Health(View):
    """Whether a runner can be used now, and why not."""

    up: bool
    state: Literal["connecting", "ready", "suspect", "lost", "stuck", "misconfigured"]
    reason: str
    since: datetime


class Runner(View):
    """A runner. The first nine fields are the hosted service's; the others are the gateway's own."""

    id: UUID
    user_id: UUID
    name: str
    status: ShownStatus
    endpoint: str
    tags: list[str]
    headers: dict[str, str] = Field(description=f"Values are {MASK} unless the gateway's configuration shows them.")
    created_at: datetime
    updated_at: datetime
    key: str = Field(description="Its name in the pool, as X-Gateway-Runner tells it.")
    source: Literal["config", "api"] = Field(description="config: only its status can be changed here.")
    health: Health


class Runners(View):
    """One page of runners, newest first."""

    runners: list[Runner]
    total: int = Field(description="On all pages.")


def masked(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers without their values."""
    return dict.fromkeys(headers, MASK)


def unmasked(sent: Mapping[str, SecretStr], known: Mapping[str, str]) -> dict[str, SecretStr]:
    """The headers that are meant, where some came back as they were read. Raises KeyError with the header's name: it
    has no value to be kept."""
    values = {name.lower(): value for name, value in known.items()}
    meant = dict(sent)
    for name, value in sent.items():
        if value.get_secret_value() == MASK:
            if name.lower() not in values:
                raise KeyError(name)
            meant[name] = SecretStr(values[name.lower()])
    return meant
