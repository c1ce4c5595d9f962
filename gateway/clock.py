"""The one clock of the gateway, and its times as text. Tests hand in a clock that they turn themselves."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Protocol

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS


def iso_8601(milliseconds: float) -> str:
    """A time in milliseconds since the epoch as text, in UTC: ``2024-01-15T10:30:00.250Z``."""
    return datetime.fromtimestamp(milliseconds / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Alarm(Protocol):
    """Something that is to be called at its time."""

    def cancel(self) -> None:
        """It is not called any more."""


class Clock:
    """Wall time for what is stored and shown, monotonic time for what is waited for."""

    def wall_ms(self) -> int:
        """Milliseconds since the epoch, UTC: ComfyUI's own unit for times."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def call_later(self, seconds: float, call: Callable[[], None]) -> Alarm:
        """Has something called in the running event loop, so many seconds from now."""
        return asyncio.get_running_loop().call_later(seconds, call)
