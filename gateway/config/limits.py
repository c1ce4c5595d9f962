"""The section `limits` of the YAML: how much each owner, token and address may ask for."""

from typing import Annotated

from pydantic import Field

from gateway.config.section import Section
from gateway.config.values import Int

Rate = Annotated[Int, Field(ge=1, le=1_000_000)]
Count = Annotated[Int, Field(ge=1, le=10_000_000)]


class LimitsConfig(Section):
    """None: no limit. Requests are counted in a moving minute, of each token and of each address (of an IPv6 one of its
    /64). `pending` bounds the jobs of an owner that have not ended, `running` those that runners have, `sockets` its
    websockets, `body_bytes` each of its requests, `max_stored_bytes` its uploads and the copies of its outputs. A token
    may have limits of its own. Without tokens, everyone together is one owner.
    """

    requests_per_minute: Rate | None = None
    requests_per_minute_per_address: Rate | None = None
    pending: Count | None = None
    running: Count | None = None
    sockets: Count | None = None
    body_bytes: Annotated[Int, Field(ge=1_024, le=1 << 40)] | None = None
    max_stored_bytes: Annotated[Int, Field(ge=1_024, le=1 << 50)] | None = None
