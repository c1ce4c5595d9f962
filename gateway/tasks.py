"""Work that goes on to its end when whoever waits for it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

ResultT = TypeVar("ResultT")

log = structlog.get_logger(__name__)


def kept(
    work: Coroutine[Any, Any, ResultT], among: set[asyncio.Task[Any]], *, name: str | None = None
) -> asyncio.Task[ResultT]:
    """Starts a task that `among` holds until it has ended; to be awaited through ``asyncio.shield``.

    Its fault is for those who wait for it. Where all of them have been cancelled meanwhile it is logged, at the level
    of debugging: they have said that they do not want to know.
    """
    task = asyncio.create_task(work, name=name)
    among.add(task)

    def ended(_task: asyncio.Task[ResultT]) -> None:
        among.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.debug("task.failed", task=task.get_name(), reason=f"{type(error).__name__}: {error}")

    task.add_done_callback(ended)
    return task
