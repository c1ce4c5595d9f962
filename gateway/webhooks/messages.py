"""What receivers are sent: the body of a message, made from a job. Pure; docs/webhooks.md shows it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from gateway.clock import iso_8601
from gateway.comfyui import json_text
from gateway.comfyui.outputs import OutputFile, files
from gateway.jobs.hooks import Event
from gateway.jobs.job import Job
from gateway.jobs.states import JobState
from gateway.storage.workflows import WorkflowRow

ID_CHARACTERS: Final = 32
MESSAGE_CHARACTERS_MOST: Final = 2_000  # of an exception's message
OUTPUTS_MOST: Final = 1_000
EVENT_OF: Final = {
    JobState.RUNNING: Event.STARTED,
    JobState.COMPLETED: Event.COMPLETED,
    JobState.FAILED: Event.FAILED,
    JobState.CANCELLED: Event.CANCELLED,
}


def message_id(job_id: str, url: str, event: Event, ordinal: int) -> str:
    """The id of a message, the same however often it is made. ``ordinal`` counts what may happen several times."""
    text = "\0".join((job_id, url, event, str(ordinal)))
    return "msg_" + hashlib.sha256(text.encode()).hexdigest()[:ID_CHARACTERS]


def line_of(job_id: str, url: str) -> str:
    """What is told in order: one job to one receiver."""
    return hashlib.sha256(f"{job_id}\0{url}".encode()).hexdigest()[:ID_CHARACTERS]


def body(
    job: Job,
    event: Event,
    now: int,
    *,
    entry: Mapping[str, Any] | None = None,
    progress: Mapping[str, Any] | None = None,
    queue_remaining: int = 0,
    base: str = "",
) -> bytes:
    """A message as it is signed and sent.

    Args:
        now: when it happened, in milliseconds since the epoch.
        entry: an ended job's history entry.
        progress: as ``progress.Tracker`` gives it.
        queue_remaining: how many of the owner's jobs have not ended.
        base: the gateway's URL as receivers see it; without one, files have paths only.
    """
    last = job.attempts[-1] if job.attempts else None
    data = {
        "job_id": job.id,
        "workflow_id": job.workflow_id,
        "client_id": job.client_id,
        "state": "pending" if event is Event.CREATED else _STATES.get(event, job.state.value),
        "number": job.number,
        "queue_remaining": queue_remaining,
        "tags": list(job.options.tags),
        "runner": None if last is None or event is Event.CREATED else last.runner,
        "attempt": 0 if event is Event.CREATED else len(job.attempts),
        "created_at": iso_8601(job.created_at),
        "started_at": None if last is None or last.started_at is None else iso_8601(last.started_at),
        "ended_at": None if entry is None else iso_8601(now),
        "progress": progress,
        "outputs": _outputs(entry, base) if event is Event.COMPLETED else [],
        "error": _error(job, entry) if event in (Event.FAILED, Event.CANCELLED) else None,
    }
    return json_text.dumps({"type": f"job.{event}", "timestamp": iso_8601(now), "data": data}).encode()


def refused_body(row: WorkflowRow, kind: str, words: str, now: int) -> bytes:
    """The message of a workflow that never got a job: it has failed, before it had anything else to tell.

    Args:
        kind, words: the refusal, as ComfyUI words it.
        now: in milliseconds since the epoch.
    """
    data = {
        **dict.fromkeys(("workflow_id", "client_id", "number", "runner", "started_at", "progress")),
        "job_id": row.id,
        "state": "failed",
        "queue_remaining": 0,
        "tags": json_text.loads(row.tags),
        "attempt": 0,
        "created_at": iso_8601(row.created_at),
        "ended_at": iso_8601(now),
        "outputs": [],
        "error": {"type": kind, "message": words[:MESSAGE_CHARACTERS_MOST], "node_id": None, "node_type": None},
    }
    return json_text.dumps({"type": f"job.{Event.FAILED}", "timestamp": iso_8601(now), "data": data}).encode()


_STATES: Final = {
    Event.STARTED: "running",
    Event.PROGRESS: "running",
    Event.COMPLETED: "completed",
    Event.FAILED: "failed",
    Event.CANCELLED: "cancelled",
}


def _outputs(entry: Mapping[str, Any] | None, base: str) -> list[dict[str, Any]]:
    by_node = (entry or {}).get("outputs") or {}
    found = [
        {
            "node_id": str(node),
            "filename": file.filename,
            "subfolder": file.subfolder,
            "type": file.type,
            "url": base + view_path(file),
        }
        for node, output in by_node.items()
        for file in dict.fromkeys(files(output))
    ]
    return found[:OUTPUTS_MOST]


def view_path(file: OutputFile) -> str:
    """Where the gateway serves a file, to whoever may see it."""
    query = {"filename": file.filename, "subfolder": file.subfolder, "type": file.type}
    return f"/view?{urlencode(query)}"


def _error(job: Job, entry: Mapping[str, Any] | None) -> dict[str, Any]:
    """What went wrong, in the words of the node or of the gateway."""
    told = ((entry or {}).get("status") or {}).get("messages") or ()
    data = next((data for kind, data in told if kind == "execution_error"), None)
    if data is None:
        return {"type": None, "message": job.reason[:MESSAGE_CHARACTERS_MOST], "node_id": None, "node_type": None}
    return {
        "type": data.get("exception_type"),
        "message": str(data.get("exception_message") or "")[:MESSAGE_CHARACTERS_MOST],
        "node_id": data.get("node_id"),
        "node_type": data.get("node_type"),
    }
