"""The section `scheduling`: by which policy jobs find their runner, and whose turn it is."""

from typing import Annotated, Literal

from pydantic import Field

from gateway.config.section import Section
from gateway.config.values import Number, Seconds


class SchedulingConfig(Section):
    """`policy` by name: `warm` looks at what runners have loaded, the others are for comparison. Jobs that were passed
    over for `patience_seconds` go first. `weights` are owners' shares of the GPUs' time, 1 for who is not named and
    whose token says nothing else. Models in `keep_warm` are not thrown out of the last runner that has them.
    """

    policy: Literal["warm", "least_work", "round_robin"] = "warm"
    patience_seconds: Seconds = 60.0
    weights: dict[str, Annotated[Number, Field(gt=0, le=1_000)]] = Field(default_factory=dict)
    keep_warm: tuple[Annotated[str, Field(min_length=1, max_length=1_024)], ...] = ()
