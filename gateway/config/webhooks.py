"""The section of webhooks."""

from typing import Annotated

from pydantic import Field

from gateway.config.section import Section
from gateway.config.values import Endpoint, Int, Number, Seconds


class WebhooksConfig(Section):
    """What is told of jobs to receivers elsewhere; which addresses they may have is in `endpoints.webhook`. A delivery
    that fails is tried again after `first_retry_seconds`, then twice as long each time up to `longest_retry_seconds`,
    until it is `give_up_hours` old. `progress_seconds` lie between two messages of a job's progress. Ended deliveries
    stay in the log for `retention_days`. With `public_url`, the gateway's URL as receivers see it, files have URLs.
    """

    timeout_seconds: Seconds = 10.0
    first_retry_seconds: Seconds = 5.0
    longest_retry_seconds: Seconds = 3_600.0
    give_up_hours: Annotated[Number, Field(gt=0, le=8_760)] = 24.0
    at_once: Annotated[Int, Field(ge=1, le=10_000)] = 64
    at_once_per_host: Annotated[Int, Field(ge=1, le=1_000)] = 8
    progress_seconds: Seconds = 1.0
    retention_days: Annotated[Number, Field(gt=0, le=3_650)] = 30.0
    public_url: Endpoint | None = None
