"""What the signals do to a serving gateway: the first stop drains, the second ends at once, SIGHUP reloads."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from gateway.reload import Reloader

STOPS = (signal.SIGINT, signal.SIGTERM)

log = structlog.get_logger(__name__)


def stopping() -> asyncio.Event:
    """Makes the event that SIGINT and SIGTERM set; a second signal, while the gateway drains, ends the process."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def heard(number: signal.Signals) -> None:
        if not stop.is_set():
            stop.set()
            return
        log.warning("gateway.ended_at_once", signal=number.name)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    for number in STOPS:
        loop.add_signal_handler(number, heard, number)
    return stop


@asynccontextmanager
async def reloading(reloader: Reloader | None) -> AsyncIterator[None]:
    """SIGHUP reloads within; without a reloader it is left as it is."""
    if reloader is None or not hasattr(signal, "SIGHUP"):
        yield
        return
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(reloader.run(), name="reload")
    loop.add_signal_handler(signal.SIGHUP, reloader.want)
    try:
        yield
    finally:
        # Not back to its default, which ends the process: a reload asked for while it stops is passed over.
        loop.add_signal_handler(signal.SIGHUP, lambda: None)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
