"""How often an address may try a wrong token on the login page."""

from __future__ import annotations

from limits import RateLimitItemPerMinute

from gateway.access.addresses import parse_address
from gateway.access.errors import TooManyAttempts
from gateway.access.windows import Rates

NETWORK_BITS_V6 = 64  # whoever has one IPv6 address has as many


class Attempts:
    """Counts failures by address: of an IPv6 one, by its network."""

    def __init__(self, per_minute: int) -> None:
        self._most = RateLimitItemPerMinute(per_minute)
        self._rates = Rates()

    def check(self, address: str) -> None:
        """Raises TooManyAttempts."""
        key = network_of(address)
        if not self._rates.may_hit(self._most, key):
            raise TooManyAttempts(self._rates.wait_seconds(self._most, key))

    def failed(self, address: str) -> None:
        """Counts one."""
        self._rates.hit(self._most, network_of(address))


def network_of(address: str) -> str:
    """By what an address is counted: an IPv6 one by its network."""
    parsed = parse_address(address)
    if parsed is None or parsed.version == 4:
        return address
    return f"{int(parsed) >> (128 - NETWORK_BITS_V6):x}"
