"""What Comfy Cloud's own routes answer, drawn from history entries and details of ``/api/jobs``: pure functions.

Source: the OpenAPI document of Comfy Cloud's API and its guide (HistoryEntry, HistoryDetailEntry, JobStatusResponse).
"""

from collections.abc import Mapping
from typing import Any, Final

from gateway.clock import iso_8601
from gateway.comfyui import jobs_api

# By the states of /api/jobs. The guide's words, which its clients look for; the document's own enumeration differs.
STATUSES: Final = {
    jobs_api.PENDING: "queued_waiting",
    jobs_api.IN_PROGRESS: "executing",
    jobs_api.COMPLETED: "success",
    jobs_api.FAILED: "error",
    jobs_api.CANCELLED: "cancelled",
}


def error(code: str, message: str) -> dict[str, str]:
    """A refusal."""
    return {"code": code, "message": message}


def entry(native: Mapping[str, Any]) -> dict[str, Any]:
    """A history entry with its prompt as an object instead of a list (``GET /api/history_v2/{id}``)."""
    number, prompt_id, graph, extra_data, outputs = (*native["prompt"], None, None, None, None, None)[:5]
    prompt = {
        "priority": number,
        "prompt_id": prompt_id,
        "prompt": graph,
        "extra_data": extra_data,
        "outputs_to_execute": outputs,
    }
    return {**native, "prompt": prompt}


def listed(native: Mapping[str, Any], prompt_id: str) -> dict[str, Any]:
    """A history entry in a list (``GET /api/history_v2``): without the graph and its metadata's workflow."""
    whole = entry(native)
    extra_data = dict(whole["prompt"]["extra_data"] or {})
    info = extra_data.get("extra_pnginfo")
    if isinstance(info, dict):
        extra_data["extra_pnginfo"] = {name: value for name, value in info.items() if name != "workflow"}
    prompt = {"priority": whole["prompt"]["priority"], "prompt_id": prompt_id, "extra_data": extra_data}
    more = {"create_time": extra_data.get("create_time"), "workflow_id": _workflow_id(info)}
    return {
        **whole,
        "prompt_id": prompt_id,
        **{name: value for name, value in more.items() if value is not None},
        "prompt": prompt,
    }


def job_status(detail: Mapping[str, Any], runner: str | None) -> dict[str, Any]:
    """``GET /api/job/{id}/status``, from the job's details as ``/api/jobs/{id}`` tells them; times are ISO 8601."""
    created = detail.get("create_time")
    changed = detail.get("execution_end_time") or detail.get("execution_start_time") or created
    failure = detail.get("execution_error")
    return {
        "id": detail["id"],
        "status": STATUSES.get(detail["status"], detail["status"]),
        "created_at": _time(created),
        "updated_at": _time(changed),
        "last_state_update": _time(changed),
        "assigned_inference": runner,
        "error_message": failure.get("exception_message") if isinstance(failure, Mapping) else None,
    }


def _workflow_id(info: Any) -> str | None:
    workflow = info.get("workflow") if isinstance(info, dict) else None
    found = workflow.get("id") if isinstance(workflow, dict) else None
    return found if isinstance(found, str) else None


def _time(milliseconds: object) -> str | None:
    return iso_8601(milliseconds) if isinstance(milliseconds, int | float) else None
