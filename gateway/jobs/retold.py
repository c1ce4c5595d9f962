"""An end told from its history entry alone: what the link missed of it, or what an earlier life of the gateway has
stored and not told. How ends come about is in `endings`."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any

import structlog

from gateway.comfyui import json_text, messages
from gateway.comfyui.messages import Message
from gateway.jobs import rows
from gateway.jobs.listeners import JobListener
from gateway.storage import jobs as job_rows
from gateway.storage.database import Database

UNTOLD_SECONDS = 900  # an end older than that is found in the history only; as long as sessions keep what was missed
UNTOLD_MOST = 2_000  # jobs

log = structlog.get_logger(__name__)


def outputs_of(entry: dict[str, Any], job_id: str, *, but: Container[str] = ()) -> Iterator[Message]:
    """``executed`` for each node with an output, except for the nodes ``but``."""
    for node, output in entry["outputs"].items():
        if node not in but:
            display = entry["meta"].get(node, {}).get("display_node", node)
            data = {"node": node, "display_node": display, "output": output, "prompt_id": job_id}
            yield messages.make("executed", data)


def terminal_of(entry: dict[str, Any], job_id: str) -> Message | None:
    """How it ended, None where the entry does not say."""
    status = entry.get("status") or {}
    for kind, data in reversed(status.get("messages") or ()):
        message = messages.make(kind, data)
        if messages.is_terminal(message):
            return messages.with_prompt_id(message, job_id)
    return None


async def retell(db: Database, listener: JobListener, *, now: int) -> None:
    """Tells the ends that were stored before the gateway was killed, or whose clients were away when it stopped.

    Clients are not connected yet: the listener keeps it for them. ``now`` is in ms. Raises StorageError.
    """
    found = await job_rows.load_untold(db, ended_since=now - UNTOLD_SECONDS * 1000, newest=UNTOLD_MOST)
    for job_id in found:
        row = await job_rows.load_job(db, job_id)
        if row is None or row.entry is None:
            continue
        job = rows.job_of(row, [])
        entry = json_text.loads(row.entry)
        for message in outputs_of(entry, job.id):
            listener.job_message(job, message)
        ended_at = row.ended_at or now
        end = terminal_of(entry, job.id) or messages.execution_interrupted(job.id, timestamp=ended_at)
        listener.job_message(job, end)
        listener.job_message(job, messages.executing(None, job.id))
    if found:
        log.info("jobs.ends_to_be_told", jobs=len(found))
