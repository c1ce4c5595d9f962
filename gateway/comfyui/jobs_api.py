"""The rules of ComfyUI's `/api/jobs` (comfy_execution/jobs.py, server.py get_jobs): rows, details, queries, pages.

A row is computed once, when a job ends, and kept; `select` filters, sorts and pages rows. Which jobs there are, and who
may see them, is not known here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, Final

from gateway.comfyui import outputs as files

PENDING: Final = "pending"
IN_PROGRESS: Final = "in_progress"
COMPLETED: Final = "completed"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"
STATUSES: Final = (PENDING, IN_PROGRESS, COMPLETED, FAILED, CANCELLED)

JOB_NOT_FOUND: Final = {"error": "Job not found"}
LONGEST_TEXT_PREVIEW: Final = 1024  # characters

_END_EVENTS: Final = frozenset({"execution_success", "execution_error", "execution_interrupted"})
_PREVIEWABLE_MEDIA: Final = frozenset({"images", "video", "audio", "3d", "text"})
_TEXT_EXTENSIONS: Final = (".txt", ".md", ".json")

Row = dict[str, Any]


class JobsQueryError(ValueError):
    """A request that `/api/jobs` refuses with 400; `body` is the answer."""

    def __init__(self, message: str, **more: Any) -> None:
        super().__init__(message)
        self.body: dict[str, Any] = {"error": message, **more}


@dataclass(frozen=True, slots=True)
class JobsQuery:
    """The parameters of `GET /api/jobs`. `statuses` None is all of them, `limit` None is no limit."""

    statuses: frozenset[str] | None = None
    workflow_id: str | None = None
    sort_by: str = "created_at"
    sort_order: str = "desc"
    limit: int | None = None
    offset: int = 0


def parse_query(query: Mapping[str, str]) -> JobsQuery:
    """Read the URL's query; JobsQueryError with ComfyUI's words for what it refuses."""
    sort_by = query.get("sort_by", "created_at").lower()
    sort_order = query.get("sort_order", "desc").lower()
    statuses = _parse_statuses(query.get("status"))
    if sort_by not in ("created_at", "execution_duration"):
        raise JobsQueryError("sort_by must be 'created_at' or 'execution_duration'")
    if sort_order not in ("asc", "desc"):
        raise JobsQueryError("sort_order must be 'asc' or 'desc'")
    limit = _parse_int(query, "limit")
    if limit is not None and limit <= 0:
        raise JobsQueryError("limit must be a positive integer")
    offset = max(_parse_int(query, "offset") or 0, 0)
    return JobsQuery(statuses, query.get("workflow_id") or None, sort_by, sort_order, limit, offset)


def cancel_ids(body: object, longest: int = 128) -> list[str]:
    """The ids in the body of `POST /api/jobs/cancel`; JobsQueryError with ComfyUI's words.

    ComfyUI takes canonical UUIDs only; here an id is any string of 1 to `longest` characters, as in `POST /prompt`.
    """
    ids = body.get("job_ids") if isinstance(body, dict) else None
    if not isinstance(ids, list):
        raise JobsQueryError("job_ids must be a list")
    invalid = [job_id for job_id in ids if not isinstance(job_id, str) or not 0 < len(job_id) <= longest]
    if invalid:
        shown = [job_id if isinstance(job_id, str) else repr(job_id) for job_id in invalid]
        raise JobsQueryError("job_ids contains invalid id(s)", invalid_ids=shown)
    return ids


def pending_row(
    prompt_id: str,
    number: float,
    extra_data: object,
    *,
    status: str = PENDING,
    queue_position: int | None = None,
    queue_reason: str | None = None,
) -> Row:
    """The row, and the whole detail, of a job that has not ended; `status` is "pending" or "in_progress".

    `queue_position` (from 1) and `queue_reason` ("concurrency_limit" or "capacity") are the frontend's own additions.
    """
    row = {
        "id": prompt_id,
        "status": status,
        "priority": number,
        "create_time": create_time(extra_data),
        "outputs_count": 0,
        "previewable_outputs_count": 0,
        "workflow_id": workflow_id(extra_data),
        "queue_position": queue_position,
        "queue_reason": queue_reason,
    }
    return _pruned(row)


def from_history(entry: Mapping[str, Any], prompt_id: str) -> Row:
    """The row of an ended job, from its history entry."""
    number, _, _, extra_data, _ = _item_of(entry)
    outputs = entry.get("outputs") or {}
    start, end, failure, interrupted = _read_messages(entry)
    count, previewable, preview = _summary(outputs)
    row = {
        "id": prompt_id,
        "status": _status(entry, interrupted),
        "priority": number,
        "create_time": create_time(extra_data),
        "execution_start_time": start,
        "execution_end_time": end,
        "execution_error": failure,
        "outputs_count": count,
        "previewable_outputs_count": previewable,
        "preview_output": preview,
        "workflow_id": workflow_id(extra_data),
    }
    return _pruned(row)


def detail(entry: Mapping[str, Any], prompt_id: str) -> dict[str, Any]:
    """`GET /api/jobs/{id}` of an ended job: its row, outputs, status and workflow. For others it is `pending_row`."""
    _, _, prompt, extra_data, _ = _item_of(entry)
    return {
        **from_history(entry, prompt_id),
        "outputs": _normal_outputs(entry.get("outputs") or {}),
        "execution_status": entry.get("status"),
        "workflow": {"prompt": prompt, "extra_data": extra_data},
    }


def select(rows: Iterable[Row], query: JobsQuery) -> dict[str, Any]:
    """The answer of `GET /api/jobs`. Equal rows stay in the order given: running, pending, then ended in order."""
    chosen = list(rows)
    if query.statuses is not None:
        chosen = [row for row in chosen if row["status"] in query.statuses]
    if query.workflow_id is not None:
        chosen = [row for row in chosen if row.get("workflow_id") == query.workflow_id]
    end = None if query.limit is None else query.offset + query.limit
    shown = list(islice(_in_order(chosen, query), query.offset, end))
    return {
        "jobs": shown,
        "pagination": {
            "offset": query.offset,
            "limit": query.limit,
            "total": len(chosen),
            "has_more": query.offset + len(shown) < len(chosen),
        },
    }


def _in_order(rows: list[Row], query: JobsQuery) -> Iterator[Row]:
    key: Callable[[Row], Any]
    if query.sort_by == "execution_duration":
        rising = sorted(rows, key=(key := _duration))
    else:
        try:
            rising = sorted(rows, key=(key := itemgetter("create_time")))  # without a call of ours for each row
        except (KeyError, TypeError):  # some row has none, or one that is no number
            rising = sorted(rows, key=(key := _creation))
    return iter(rising) if query.sort_order == "asc" else _falling(rising, key)


def _falling(rising: list[Row], key: Callable[[Row], Any]) -> Iterator[Row]:
    """The same from its end, equal ones in the order in which they are. Lists of jobs are nearly in rising order
    already, which makes sorting them cheap; to sort them the other way round is not, where many are equal."""
    for _, equal in groupby(reversed(rising), key):
        yield from reversed(list(equal))


def create_time(extra_data: object) -> Any:
    """When the job was accepted, in ms since the epoch; None if it isn't said."""
    return extra_data.get("create_time") if isinstance(extra_data, Mapping) else None


def workflow_id(extra_data: object) -> Any:
    """`extra_pnginfo.workflow.id`, or None."""
    value = extra_data
    for key in ("extra_pnginfo", "workflow", "id"):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _parse_statuses(text: str | None) -> frozenset[str] | None:
    if not text:
        return None
    statuses = [part.strip().lower() for part in text.split(",") if part.strip()]
    unknown = [status for status in statuses if status not in STATUSES]
    if unknown:
        valid = ", ".join(STATUSES)
        raise JobsQueryError(f"Invalid status value(s): {', '.join(unknown)}. Valid values: {valid}")
    return frozenset(statuses)


def _parse_int(query: Mapping[str, str], name: str) -> int | None:
    if name not in query:
        return None
    try:
        return int(query[name])
    except ValueError:
        raise JobsQueryError(f"{name} must be an integer") from None


def _item_of(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    item = entry.get("prompt")
    return tuple(item[:5]) if isinstance(item, list | tuple) and len(item) >= 5 else (0, "", {}, {}, [])


def _read_messages(entry: Mapping[str, Any]) -> tuple[Any, Any, Any, bool]:
    """Start and end time, the execution_error's data, and whether the job was interrupted."""
    start = end = failure = None
    interrupted = False
    status = entry.get("status")
    messages = status.get("messages") if isinstance(status, Mapping) else None
    for message in messages if isinstance(messages, list) else ():
        if not isinstance(message, list | tuple) or len(message) < 2 or not isinstance(message[1], Mapping):
            continue
        event, data = message[0], message[1]
        if event == "execution_start":
            start = data.get("timestamp")
        elif isinstance(event, str) and event in _END_EVENTS:
            end = data.get("timestamp")
            failure = data if event == "execution_error" else failure
            interrupted = interrupted or event == "execution_interrupted"
    return start, end, failure, interrupted


def _status(entry: Mapping[str, Any], interrupted: bool) -> str:
    status = entry.get("status")
    if isinstance(status, Mapping) and status.get("status_str") == "error":
        return CANCELLED if interrupted else FAILED
    return COMPLETED


def _summary(outputs: object) -> tuple[int, int, dict[str, Any] | None]:
    """How many outputs there are, how many of them can be shown, and the best one to show.

    Best is saved visual media, then other visual media, then a text file, then a plain text; of equals the first.
    """
    count = previewable = 0
    best: dict[int, dict[str, Any]] = {}
    for node_id, media, value in _listed(outputs):
        item = _output_item(value)
        if item is None:
            if media == "text" and value is not None:
                best.setdefault(3, {**_text_preview(str(value)), "nodeId": node_id, "mediaType": media})
            continue
        count += 1
        if not _is_previewable(media, item):
            continue
        previewable += 1
        best.setdefault(_rank(media, item), {**item, "nodeId": node_id, "mediaType": item.get("mediaType", media)})
    return count, previewable, best[min(best)] if best else None


def _listed(outputs: object) -> Iterator[tuple[str, str, Any]]:
    """Every (node id, media type, value) in the lists of `outputs`; `animated` is a flag, no list of outputs."""
    for node_id, node in outputs.items() if isinstance(outputs, Mapping) else ():
        for media, values in node.items() if isinstance(node, Mapping) else ():
            if media != "animated" and isinstance(values, list):
                for value in values:
                    yield node_id, media, value


def _output_item(value: object) -> dict[str, Any] | None:
    """The item that a listed value counts as; strings count only if they are a 3D model's path."""
    if isinstance(value, str) and files.is_3d_path(value):
        return {"filename": value, "type": "output", "subfolder": "", "mediaType": "3d"}
    return value if isinstance(value, dict) else None


def _filename(item: Mapping[str, Any]) -> str:
    filename = item.get("filename")
    return filename.lower() if isinstance(filename, str) else ""


def _is_previewable(media: str, item: Mapping[str, Any]) -> bool:
    mime = item.get("format")
    return (
        media in _PREVIEWABLE_MEDIA
        or (isinstance(mime, str) and mime.startswith(("video/", "audio/")))
        or _filename(item).endswith(files.THREE_D_EXTENSIONS + _TEXT_EXTENSIONS)
    )


def _rank(media: str, item: Mapping[str, Any]) -> int:
    if media == "text" or _filename(item).endswith(_TEXT_EXTENSIONS):
        return 2
    return 0 if item.get("type") == "output" else 1


def _text_preview(text: str) -> dict[str, Any]:
    if len(text) <= LONGEST_TEXT_PREVIEW:
        return {"content": text}
    return {"content": text[:LONGEST_TEXT_PREVIEW], "truncated": True}


def _normal_outputs(outputs: object) -> Any:
    """The outputs with 3D models' paths as items and nulls left out."""
    if not isinstance(outputs, Mapping):
        return outputs
    return {
        node_id: {media: _normal_values(media, values) for media, values in node.items()}
        if isinstance(node, Mapping)
        else node
        for node_id, node in outputs.items()
    }


def _normal_values(media: str, values: Any) -> Any:
    if media == "animated" or not isinstance(values, list):
        return values
    return [value if (item := _output_item(value)) is None else item for value in values if value is not None]


def _pruned(row: Row) -> Row:
    return {key: value for key, value in row.items() if value is not None}


def _creation(row: Row) -> float:
    created = row.get("create_time")
    return created if isinstance(created, int | float) else 0


def _duration(row: Row) -> float:
    start, end = row.get("execution_start_time"), row.get("execution_end_time")
    return end - start if isinstance(start, int | float) and isinstance(end, int | float) and start and end else 0
