"""Whether a webhook's target may be one: judged when it is given, and once more at every connection."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import replace
from typing import Final

from gateway.jobs.hooks import Hook, HookRefused
from gateway.runners.addresses import EndpointRefused, EndpointRules

GOOD_SECONDS: Final = 60.0  # for which a URL is not looked up again
REMEMBERED_MOST: Final = 1_000


class Receivers:
    """Judges targets by the rules of `endpoints.webhook`."""

    def __init__(self, rules: EndpointRules) -> None:
        self.rules = rules
        self._good: OrderedDict[str, tuple[float, str]] = OrderedDict()

    async def check(self, hook: Hook) -> Hook:
        """The hook with its URL as it will be used. Raises HookRefused with the reason."""
        known = self._good.get(hook.url)
        if known is not None and time.monotonic() < known[0]:
            return replace(hook, url=known[1])
        try:
            url = await self.rules.check_resolved(hook.url)
        except EndpointRefused as refused:
            raise HookRefused(f"url {refused}") from None
        self._good[hook.url] = (time.monotonic() + GOOD_SECONDS, url)
        self._good.move_to_end(hook.url)
        while len(self._good) > REMEMBERED_MOST:
            self._good.popitem(last=False)
        return replace(hook, url=url)
