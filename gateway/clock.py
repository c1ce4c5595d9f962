"""The one clock of the gateway. Tests hand in one that they turn themselves."""

import time


class Clock:
    """Wall time for what is stored and shown, monotonic time for what is waited for."""

    def wall_ms(self) -> int:
        """Milliseconds since the epoch, UTC: ComfyUI's own unit for times."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()
