"""How much of the pool an owner may claim: its weight beside other owners, and the highest priority of its jobs. Both
are those of its most generous live token, as its limits are; without tokens, the configuration's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.access.token import Token

EVEN = 1.0


@dataclass(frozen=True, slots=True)
class Standing:
    """``weight`` is the share of GPU time, ``ceiling`` the highest priority; None for any."""

    weight: float = EVEN
    ceiling: int | None = None

    def priority(self, wanted: int) -> int:
        """The priority that a job may have."""
        return wanted if self.ceiling is None else min(wanted, self.ceiling)


def standing_of(owner: str, tokens: Sequence[Token], weights: Mapping[str, float]) -> Standing:
    """An owner's, from its live tokens and the configuration's weights."""
    weight = max((token.weight for token in tokens), default=EVEN)
    ceilings = [token.priority_ceiling for token in tokens]
    known = [ceiling for ceiling in ceilings if ceiling is not None]
    return Standing(
        weight if weight != EVEN else weights.get(owner, EVEN),
        max(known) if known and len(known) == len(ceilings) else None,
    )
