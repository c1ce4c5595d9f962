"""The rate limit of ``/v1``: an address that asks too much in too short a time is refused everything for a while. URLs
of outputs do not count, which at the hosted service are another host's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import ceil

from aiohttp import web
from limits import RateLimitItemPerSecond

from gateway.access.addresses import client_address
from gateway.access.attempts import network_of
from gateway.access.windows import Rates
from gateway.api.services import services
from gateway.api.v1.errors import ErrorAnswer
from gateway.api.v1.faults import is_ours
from gateway.clock import Clock
from gateway.config import V1Config

OUTPUTS = "/v1/output/"
COOLING_MOST = 100_000  # addresses; more than that are not cooled down, only refused past their limit

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Rate:
    """Counts the requests of each address: of an IPv6 one, of its network."""

    def __init__(self, config: V1Config, clock: Clock) -> None:
        self._most = RateLimitItemPerSecond(config.requests or 0, config.per_seconds)
        self._is_limited = config.requests is not None
        self._cooldown_seconds = config.cooldown_seconds
        self._clock = clock
        self._rates = Rates(clock.monotonic)
        self._cooling: dict[str, float] = {}  # address -> until when, in the order of these

    def wait_seconds(self, address: str) -> float:
        """Counts a request. Returns how long its address has to wait, 0 where the request may pass."""
        if not self._is_limited:
            return 0
        now = self._clock.monotonic()
        key = network_of(address)
        self._forget(now)
        if key not in self._cooling:
            if self._rates.hit(self._most, key):
                return 0
            if len(self._cooling) < COOLING_MOST:
                self._cooling[key] = now + self._cooldown_seconds
        return self._cooling.get(key, now + self._cooldown_seconds) - now

    def _forget(self, now: float) -> None:
        while self._cooling:
            oldest = next(iter(self._cooling))
            if self._cooling[oldest] > now:
                return
            del self._cooling[oldest]


RATE = web.AppKey("v1_rate", Rate)


@web.middleware
async def limited(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses what is too much, before anything else is done for it."""
    if is_ours(request) and not request.path.startswith(OUTPUTS):
        wait = request.app[RATE].wait_seconds(client_address(request))
        if wait > 0:
            config = services(request).config.v1
            message = f"rate limit exceeded: {config.requests} requests in {config.per_seconds} seconds"
            return ErrorAnswer(429, message, {"Retry-After": str(ceil(wait))})
    return await handler(request)
