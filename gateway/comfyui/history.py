"""Queue items and history entries: building them, and telling a runner's as the gateway's own.

Shapes (ComfyUI execution.py PromptQueue): an item is `[number, prompt_id, prompt, extra_data, outputs_to_execute]`, an
entry `{"prompt": item, "outputs": {…}, "status": {status_str, completed, messages}, "meta": {…}}`. What a job's row in
`/api/jobs` says is `jobs_api`'s.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from gateway.comfyui import messages as ws
from gateway.comfyui import outputs as files

SECRET_KEYS: Final = frozenset({"auth_token_comfy_org", "api_key_comfy_org"})
"""Keys of `extra_data` that go to the runner and are never shown, stored or logged."""

Rename = Callable[[files.OutputFile], files.OutputFile]
T = TypeVar("T")


def public_extra_data(extra_data: object) -> dict[str, Any]:
    """A copy of a prompt's `extra_data` without its secrets; what is not an object becomes {}."""
    if not isinstance(extra_data, Mapping):
        return {}
    return {key: value for key, value in extra_data.items() if key not in SECRET_KEYS}


def queue_item(
    number: float,
    prompt_id: str,
    prompt: Mapping[str, Any],
    extra_data: object,
    outputs_to_execute: Iterable[str],
) -> list[Any]:
    """An item of `GET /queue`, which is also the `prompt` of a history entry."""
    return [number, prompt_id, prompt, public_extra_data(extra_data), list(outputs_to_execute)]


def rewrite_entry(
    entry: Mapping[str, Any],
    *,
    prompt_id: str,
    number: float,
    prompt: Mapping[str, Any] | None,
    extra_data: object,
    rename: Rename,
) -> dict[str, Any]:
    """A runner's history entry as the gateway tells it; the entry itself is left alone.

    The job's id and number replace the runner's, the client's `extra_data` (with the gateway's `create_time`) the one
    that the runner was given. `prompt` is the client's graph, None keeps the runner's. Files get their public names
    from `rename` (which returns its argument for those it doesn't know), asset ids and secrets go.
    """
    runner_item = entry.get("prompt")
    if not isinstance(runner_item, list) or len(runner_item) < 5 or not isinstance(runner_item[4], list):
        runner_item = [0, "", {}, {}, []]
    item = queue_item(number, prompt_id, runner_item[2] if prompt is None else prompt, extra_data, runner_item[4])
    _keep_create_time(item[3], runner_item[3])
    rewritten = {
        "prompt": item,
        "outputs": files.map_files(files.strip_asset_ids(entry.get("outputs") or {}), rename),
        "status": _status_of(entry.get("status"), prompt_id),
        "meta": entry.get("meta") or {},
    }
    return rewritten | {key: value for key, value in entry.items() if key not in rewritten}


def made_entry(
    number: float,
    prompt_id: str,
    prompt: Mapping[str, Any],
    extra_data: object,
    outputs_to_execute: Iterable[str],
    outputs: Mapping[str, Any],
    messages: Iterable[ws.Message | Sequence[Any]],
    meta: Mapping[str, Any],
    completed: bool,
) -> dict[str, Any]:
    """A history entry for an end that no runner has recorded.

    `messages` are messages as sent, or their `[type, data]` pairs; ComfyUI keeps execution_start, execution_cached and
    the one that ended the job. `completed` is False for failed and interrupted jobs alike.
    """
    pairs = [[entry.type, entry.data] if isinstance(entry, ws.Message) else list(entry) for entry in messages]
    return {
        "prompt": queue_item(number, prompt_id, prompt, extra_data, outputs_to_execute),
        "outputs": dict(outputs),
        "status": {"status_str": "success" if completed else "error", "completed": completed, "messages": pairs},
        "meta": dict(meta),
    }


def page(entries: Sequence[T], max_items: int | None = None, offset: int = -1) -> Sequence[T]:
    """The part of the history that `GET /history` shows; `entries` oldest first, as is the answer.

    Without `offset` the newest `max_items` (0 and less: none); with it, counted from the oldest and at least one, as in
    ComfyUI's get_history.
    """
    if offset >= 0:
        return entries[offset:] if max_items is None else entries[offset : offset + max(max_items, 1)]
    if max_items is None:
        return entries
    return entries[max(len(entries) - max_items, 0) :]


def _keep_create_time(extra_data: dict[str, Any], runner_extra_data: object) -> None:
    if (
        "create_time" not in extra_data
        and isinstance(runner_extra_data, Mapping)
        and "create_time" in runner_extra_data
    ):
        extra_data["create_time"] = runner_extra_data["create_time"]


def _status_of(status: object, prompt_id: str) -> Any:
    if not isinstance(status, Mapping) or not isinstance(status.get("messages"), list):
        return status
    return {**status, "messages": [_message_of(message, prompt_id) for message in status["messages"]]}


def _message_of(message: Any, prompt_id: str) -> Any:
    if not isinstance(message, list) or len(message) != 2 or not isinstance(message[1], dict):
        return message
    kind, data = message
    return [kind, ws.data_with_prompt_id(kind, data, prompt_id)]
