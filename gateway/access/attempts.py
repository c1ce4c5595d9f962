"""How often an address may try a wrong token on the login page."""

from __future__ import annotations

import time
from math import ceil

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from gateway.access.addresses import parse_address
from gateway.access.errors import TooManyAttempts

NETWORK_BITS_V6 = 64  # whoever has one IPv6 address has as many


class Attempts:
    """Counts failures by address: of an IPv6 one, by its network."""

    def __init__(self, per_minute: int) -> None:
        self._most = RateLimitItemPerMinute(per_minute)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def check(self, address: str) -> None:
        """Raises TooManyAttempts."""
        key = network_of(address)
        if not self._limiter.test(self._most, key):
            resets = self._limiter.get_window_stats(self._most, key).reset_time
            raise TooManyAttempts(max(ceil(resets - time.time()), 1))

    def failed(self, address: str) -> None:
        """Counts one."""
        self._limiter.hit(self._most, network_of(address))


def network_of(address: str) -> str:
    """By what an address is counted: an IPv6 one by its network."""
    parsed = parse_address(address)
    if parsed is None or parsed.version == 4:
        return address
    return f"{int(parsed) >> (128 - NETWORK_BITS_V6):x}"
