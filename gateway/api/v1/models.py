"""What the models of ``/v1`` share: JSON types as they are sent, times as ISO 8601 in UTC, ids as UUIDs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

MILLISECONDS = 1_000

Tag = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class Request(BaseModel):
    """A body that is read. Types are taken as they are sent (``"1"`` is no number); fields that are not known are
    passed over, so that an object can be sent back as it was read."""

    model_config = ConfigDict(strict=True, extra="ignore", hide_input_in_errors=True)


class View(BaseModel):
    """A body that is answered: every field is there, and null where it has no value."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)


def at(milliseconds: int) -> datetime:
    """A stored time as the API shows it: ``2024-01-15T10:30:00Z``."""
    return datetime.fromtimestamp(milliseconds // MILLISECONDS, UTC)


def at_or_none(milliseconds: int | None) -> datetime | None:
    """The same for a time that may not have come yet."""
    return None if milliseconds is None else at(milliseconds)
