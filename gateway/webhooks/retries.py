"""The states of a delivery, and when it is tried again. Pure; `deliverer` does as it says here.

    state        meaning
    PENDING      stored, and not taken by its receiver yet: it waits for the one before it, or for its next try
    DELIVERED    the receiver has answered 2xx
    GIVEN_UP     it was tried for `give_up_hours`, or its receiver has answered 410

    PENDING   -> DELIVERED, GIVEN_UP, PENDING (tried in vain)
    the other two are ends. A replay is another delivery, of the same message.

A delivery is one message to one receiver, written in the transaction of the change that it tells of. The messages of
one job to one receiver are a *line*: the next one is tried only once the one before it has ended. Progress that has not
been delivered is removed when newer progress or an end comes: nobody needs it any more.

    what happens                                    what comes of it
    the gateway is killed before the transaction    neither the change nor the message ever was
    … after it, before the delivery                 the next life delivers it
    … between the receiver's answer and its note    it is delivered once more, before the next one
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.clock import HOUR_MS
from gateway.config.webhooks import WebhooksConfig

GONE: Final = 410
JITTER: Final = 0.2  # of a pause, so that what failed together does not come back together
DOUBLINGS_MOST: Final = 40


class DeliveryState(StrEnum):
    """See the table at the top of this module."""

    PENDING = "pending"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one try: the receiver's status, or None and why there is none."""

    status: int | None
    error: str | None = None

    @property
    def is_taken(self) -> bool:
        """Whether the receiver has it."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Next:
    """What follows: a state, and for PENDING the time of the next try in milliseconds since the epoch."""

    state: DeliveryState
    at: int | None = None


def pause_seconds(tries: int, config: WebhooksConfig, chance: float) -> float:
    """How long to wait after so many tries in vain; ``chance`` in [0, 1) draws the jitter, which only shortens."""
    doubled = config.first_retry_seconds * 2.0 ** min(tries - 1, DOUBLINGS_MOST)
    return min(doubled, config.longest_retry_seconds) * (1.0 - JITTER * chance)


def after(outcome: Outcome, *, tries: int, created_at: int, now: int, config: WebhooksConfig, chance: float) -> Next:
    """What follows from a try, the ``tries``-th one. Times in milliseconds since the epoch."""
    if outcome.is_taken:
        return Next(DeliveryState.DELIVERED)
    again = now + round(pause_seconds(tries, config, chance) * 1_000)
    if outcome.status == GONE or again > created_at + config.give_up_hours * HOUR_MS:
        return Next(DeliveryState.GIVEN_UP)
    return Next(DeliveryState.PENDING, again)
