"""The section of the API under ``/v1``."""

from typing import Annotated

from pydantic import Field

from gateway.config.section import Section
from gateway.config.values import Int, Seconds


class V1Config(Section):
    """The API under `/v1`, with the limits of the hosted service that it is like. One address may make `requests` in
    `per_seconds`; past that it is refused everything for `cooldown_seconds`. None: any number. `show_headers`: whoever
    may manage runners reads the values of their headers, as at the hosted service. `max_runners`: as many may each
    owner make.
    """

    requests: Annotated[Int, Field(ge=1, le=1_000_000)] | None = 40
    per_seconds: Annotated[Int, Field(ge=1, le=3_600)] = 10
    cooldown_seconds: Seconds = 10.0
    show_headers: bool = False
    max_runners: Annotated[Int, Field(ge=0, le=10_000)] | None = None
