"""Error bodies of `POST /prompt`: ComfyUI's envelope, its own errors, and the gateway's in the same shape.

Status codes are the API's business. Older frontends read any answer but 200 as this JSON, so every refusal needs it.
"""

from collections.abc import Mapping
from typing import Any, Final

NO_PROMPT: Final = "no_prompt"
INVALID_PROMPT_ID: Final = "invalid_prompt_id"
NO_RUNNER_AVAILABLE: Final = "no_runner_available"
NO_RUNNER_FITS: Final = "no_runner_fits"
DUPLICATE_PROMPT_ID: Final = "duplicate_prompt_id"
QUEUE_FULL: Final = "queue_full"
GATEWAY_STOPPING: Final = "gateway_stopping"

LONGEST_PROMPT_ID: Final = 128  # characters


def error_body(
    type: str,  # noqa: A002 - the protocol's own word
    message: str,
    details: str = "",
    extra_info: Mapping[str, Any] | None = None,
    node_errors: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The body of a refusal: `{"error": {type, message, details, extra_info}, "node_errors": {…}}`."""
    return {"error": error(type, message, details, extra_info), "node_errors": dict(node_errors or {})}


def error(
    type: str,  # noqa: A002 - the protocol's own word
    message: str,
    details: str = "",
    extra_info: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One error object, as in `error` of a body and in the `errors` of a node."""
    return {"type": type, "message": message, "details": details, "extra_info": dict(extra_info or {})}


def no_prompt() -> dict[str, Any]:
    """400: the request has no `prompt` (ComfyUI server.py post_prompt)."""
    return error_body(NO_PROMPT, "No prompt provided", "No prompt provided")


def invalid_prompt_id() -> dict[str, Any]:
    """400: the client's id is no string, empty, or too long."""
    details = (
        f"prompt_id must be a string of 1 to {LONGEST_PROMPT_ID} characters; omit it to let the server generate one"
    )
    return error_body(INVALID_PROMPT_ID, "prompt_id is not valid", details)


def duplicate_prompt_id(prompt_id: str) -> dict[str, Any]:
    """400: a job of this id was accepted before, and is never run twice."""
    return error_body(DUPLICATE_PROMPT_ID, "prompt_id already exists", prompt_id, {"prompt_id": prompt_id})


def no_good_prompt_id() -> dict[str, Any]:
    """400: an id that cannot be had; nothing else is told of it."""
    details = "prompt_id cannot be used; choose another one, or omit it to let the server generate one"
    return error_body(INVALID_PROMPT_ID, "prompt_id is not valid", details)


def invalid_webhook(reason: str) -> dict[str, Any]:
    """400: what `extra_data.gateway.webhook` holds is no receiver, or one that may not be given."""
    return error_body("invalid_webhook", "extra_data.gateway.webhook is not valid", reason)


def no_runner_available(details: str = "", extra_info: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """503: no runner can be asked; `details` says why."""
    return error_body(NO_RUNNER_AVAILABLE, "No runner is available", details, extra_info)


def no_runner_fits(details: str) -> dict[str, Any]:
    """400: no runner of the pool could ever run it, up or not; `details` has the reason of each."""
    return error_body(NO_RUNNER_FITS, "No runner of the pool could run this", details)


def storage_full(stored: int, most: int, size: int) -> dict[str, Any]:
    """507: an owner's uploads have as many bytes as they may, or the new one's are too many beside them."""
    details = f"uploads have {stored} of {most} bytes, and this one has {size}"
    return error_body("storage_full", "No room for this upload", details, {"stored": stored, "limit": most})


def gateway_stopping() -> dict[str, Any]:
    """503: prompts are not taken any more; the next life of the gateway takes them."""
    return error_body(GATEWAY_STOPPING, "The gateway is stopping", "It takes prompts again when it has restarted")


def queue_full(limit: int) -> dict[str, Any]:
    """429 or 503: as many jobs as allowed are waiting."""
    return error_body(QUEUE_FULL, "The queue is full", f"{limit} jobs are waiting already", {"limit": limit})


def client_queue_full(limit: int) -> dict[str, Any]:
    """429: one client has as many jobs waiting as it may."""
    details = f"{limit} jobs of this client are waiting already"
    return error_body(QUEUE_FULL, "Too many jobs of this client are waiting", details, {"limit": limit})


def owner_queue_full(limit: int) -> dict[str, Any]:
    """429: an owner has as many jobs that have not ended as it may."""
    details = f"{limit} of your jobs have not ended yet"
    return error_body(QUEUE_FULL, "Too many of your jobs are waiting", details, {"limit": limit})


def body_too_slow(seconds: float) -> dict[str, Any]:
    """408: the request's body did not come in time."""
    return error_body(
        "body_too_slow", "The request took too long to arrive", f"Its body was not there in {seconds:g} s"
    )
