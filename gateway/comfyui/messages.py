"""Text messages of the websocket: parsing, building and rewriting. Binary frames live in `frames`.

A message is `{"type": str, "data": object}`. What a runner sent keeps its text, so that a relay without changes costs
no serialisation. Key order follows ComfyUI's (execution.py add_message, server.py send_sync).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.comfyui import json_text

TERMINAL: Final = frozenset({"execution_success", "execution_error", "execution_interrupted"})
"""Types that end a job; see `is_terminal` for the one exception."""

EXECUTION_BLOCKED: Final = "ExecutionBlocked"
"""`exception_type` of an execution_error that only says that a branch was blocked: the job goes on."""


@dataclass(slots=True)
class Message:
    """One text message; `text` is its JSON as it came or as it is to be sent. `data` is not to be changed in place.

    Not `frozen`, by which making one, as is done for every message of every job, would cost three times as much.
    """

    type: Final[str]
    data: Final[dict[str, Any]]
    text: Final[str]


def parse(text: str) -> Message | None:
    """The message in `text`, or None if it is not JSON or not of a message's shape. Never raises."""
    try:
        value = json_text.loads(text)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    kind, data = value.get("type"), value.get("data")
    if not isinstance(kind, str) or not isinstance(data, dict):
        return None
    return Message(kind, data, text)


def make(type: str, data: dict[str, Any]) -> Message:  # noqa: A002 - the protocol's own word
    """A message of `type` with `data`, serialised."""
    return Message(type, data, json_text.dumps({"type": type, "data": data}))


def status(queue_remaining: int, sid: str | None = None) -> Message:
    """`status`; with `sid` it is the first message on a new socket."""
    data: dict[str, Any] = {"status": {"exec_info": {"queue_remaining": queue_remaining}}}
    if sid is not None:
        data["sid"] = sid
    return make("status", data)


def feature_flags(flags: Mapping[str, Any]) -> Message:
    """`feature_flags`, the answer to a client's own."""
    return make("feature_flags", dict(flags))


def execution_start(prompt_id: str, timestamp: int) -> Message:
    """`execution_start`; `timestamp` in ms since the epoch."""
    return make("execution_start", {"prompt_id": prompt_id, "timestamp": timestamp})


def execution_cached(nodes: Iterable[str], prompt_id: str, timestamp: int) -> Message:
    """`execution_cached`; `timestamp` in ms since the epoch."""
    return make("execution_cached", {"nodes": list(nodes), "prompt_id": prompt_id, "timestamp": timestamp})


def executing(node: str | None, prompt_id: str | None, display_node: str | None = None) -> Message:
    """`executing`: a node begins, or with `node` None the job has left the runner.

    Without `prompt_id` it has the shape that ComfyUI sends to a client that reconnects: the node alone.
    """
    if prompt_id is None:
        return make("executing", {"node": node})
    if node is None:
        return make("executing", {"node": None, "prompt_id": prompt_id})
    return make("executing", {"node": node, "display_node": display_node or node, "prompt_id": prompt_id})


def execution_success(prompt_id: str, timestamp: int) -> Message:
    """`execution_success`; `timestamp` in ms since the epoch."""
    return make("execution_success", {"prompt_id": prompt_id, "timestamp": timestamp})


def execution_error(
    prompt_id: str,
    *,
    exception_type: str,
    exception_message: str,
    timestamp: int,
    node_id: str = "",
    node_type: str = "",
    executed: Iterable[str] = (),
    traceback: Iterable[str] = (),
    current_inputs: Mapping[str, Any] | None = None,
    current_outputs: Iterable[str] = (),
) -> Message:
    """`execution_error` with all fields of ComfyUI's (execution.py handle_execution_error); `timestamp` in ms."""
    data = {
        "prompt_id": prompt_id,
        "node_id": node_id,
        "node_type": node_type,
        "executed": list(executed),
        "exception_message": exception_message,
        "exception_type": exception_type,
        "traceback": list(traceback),
        "current_inputs": dict(current_inputs or {}),
        "current_outputs": list(current_outputs),
        "timestamp": timestamp,
    }
    return make("execution_error", data)


def execution_interrupted(
    prompt_id: str,
    *,
    timestamp: int,
    node_id: str = "",
    node_type: str = "",
    executed: Iterable[str] = (),
) -> Message:
    """`execution_interrupted` with all fields of ComfyUI's; `timestamp` in ms."""
    data = {
        "prompt_id": prompt_id,
        "node_id": node_id,
        "node_type": node_type,
        "executed": list(executed),
        "timestamp": timestamp,
    }
    return make("execution_interrupted", data)


def with_prompt_id(message: Message, prompt_id: str) -> Message:
    """The message told as another job's: in `data.prompt_id` and in every node of a progress_state.

    The same object if the message already names that job, or names none.
    """
    current = message.data.get("prompt_id", prompt_id)
    if current == prompt_id:
        return message
    data = data_with_prompt_id(message.type, message.data, prompt_id)
    try:
        return make(message.type, data)
    except ValueError:
        # What could be parsed may be nested too deeply to be serialised again.
        return Message(message.type, data, message.text.replace(json_text.dumps(current), json_text.dumps(prompt_id)))


def data_with_prompt_id(type: str, data: dict[str, Any], prompt_id: str) -> dict[str, Any]:  # noqa: A002
    """A message's `data` told as another job's; a copy, with only what changes copied."""
    if "prompt_id" not in data:
        return data
    changed = {**data, "prompt_id": prompt_id}
    nodes = data.get("nodes")
    if type == "progress_state" and isinstance(nodes, dict):
        changed["nodes"] = {
            key: {**node, "prompt_id": prompt_id} if isinstance(node, dict) and "prompt_id" in node else node
            for key, node in nodes.items()
        }
    return changed


def prompt_id_of(message: Message) -> str | None:
    """The job that the message speaks of, or None if it names none."""
    prompt_id = message.data.get("prompt_id")
    return prompt_id if isinstance(prompt_id, str) else None


def is_terminal(message: Message) -> bool:
    """Whether the message ends its job."""
    return message.type in TERMINAL and message.data.get("exception_type") != EXECUTION_BLOCKED
