"""Prompts: /prompt, /queue, /history, /interrupt, /free (ComfyUI server.py)."""

import json
import time
import uuid
from typing import Any

from aiohttp import web

from gateway.simulator.http import json_of, json_response, state_of
from gateway.simulator.prompt_queue import SECRETS, QueueItem
from gateway.simulator.runner import RunnerState
from gateway.simulator.validation import Error, prompt_error, validate_prompt
from gateway.simulator.values import JSON


async def get_prompt(request: web.Request) -> web.Response:
    """How much there is to do."""
    return json_response(state_of(request).queue_info())


async def post_prompt(request: web.Request) -> web.Response:
    """Validate a prompt and queue it."""
    state = state_of(request)
    state.logs.write("got prompt")
    body = await json_of(request)
    if not isinstance(body, dict):
        # ComfyUI only asks what is `in` it, a part of a text too; raises for what has nothing in it
        body = {name: None for name in ("number", "prompt") if name in body}
    number = _number(state, body)
    if "prompt" not in body:
        return _refusal(prompt_error("no_prompt", "No prompt provided", "No prompt provided"))
    prompt = body["prompt"]
    prompt_id = _prompt_id(state, body)
    if prompt_id is None:
        details = (
            "prompt_id must be a UUID string in canonical lowercase hyphenated form; "
            "omit it to let the server generate one"
        )
        return _refusal(prompt_error("invalid_prompt_id", "prompt_id must be a valid UUID", details))
    verdict = validate_prompt(prompt, body.get("partial_execution_targets"), state.catalogue)
    extra_data = _extra_data(state, body, request.headers.get("Comfy-Usage-Source"))
    if verdict.error is not None:
        return _refusal(verdict.error, verdict.node_errors)
    state.queue.put(_item(state, number, prompt_id, prompt, extra_data, verdict.outputs))
    return json_response({"prompt_id": prompt_id, "number": number, "node_errors": verdict.node_errors})


def _number(state: RunnerState, body: JSON) -> float:
    """The place in the queue; the counter moves on even if the prompt is refused."""
    if "number" in body:
        return float(body["number"])
    number = state.number
    state.number += 1
    return -number if body.get("front") else number


def _prompt_id(state: RunnerState, body: dict[str, Any]) -> str | None:
    """The prompt's id; None if the client's own is not one that this version takes."""
    if not state.personality.canonical_prompt_ids:
        return str(body.get("prompt_id", uuid.uuid4()))
    given = body.get("prompt_id")
    if given is None:
        return str(uuid.uuid4())
    return given if is_canonical_uuid(given) else None


def is_canonical_uuid(value: JSON) -> bool:
    """Whether a value is a string as `str(UUID)` writes it."""
    try:
        return isinstance(value, str) and str(uuid.UUID(value)) == value
    except ValueError:
        return False


def _extra_data(state: RunnerState, body: dict[str, Any], usage_source: str | None) -> JSON:
    extra_data = body.get("extra_data", {})
    if "client_id" in body:
        extra_data["client_id"] = body["client_id"]
    if state.personality.modern and "comfy_usage_source" not in extra_data and usage_source:
        extra_data["comfy_usage_source"] = usage_source
    return extra_data


def _item(
    state: RunnerState, number: float, prompt_id: str, prompt: JSON, extra_data: JSON, outputs: list[str]
) -> QueueItem:
    if not state.personality.secrets_apart:
        return (number, prompt_id, prompt, extra_data, outputs)
    secrets = {name: extra_data.pop(name) for name in SECRETS if name in extra_data}
    extra_data["create_time"] = int(time.time() * 1000)
    return (number, prompt_id, prompt, extra_data, outputs, secrets)


def _refusal(error: Error, node_errors: dict[str, Any] | None = None) -> web.Response:
    return json_response({"error": error, "node_errors": node_errors or {}}, status=400)


async def get_queue(request: web.Request) -> web.Response:
    """What runs and what is pending."""
    return json_response(state_of(request).queue.listing())


async def post_queue(request: web.Request) -> web.Response:
    """Take pending prompts out."""
    queue = state_of(request).queue
    body = await json_of(request)
    if body.get("clear"):
        queue.wipe()
    for prompt_id in body.get("delete", ()):
        queue.delete(prompt_id)
    return web.Response()


async def post_interrupt(request: web.Request) -> web.Response:
    """Interrupt the running prompt, or only if it is the one named."""
    state = state_of(request)
    try:
        body = await json_of(request)
    except json.JSONDecodeError:
        body = {}
    prompt_id = body.get("prompt_id")
    if not prompt_id or state.queue.is_running(prompt_id):
        state.gpu.interrupt()
    return web.Response()


async def post_free(request: web.Request) -> web.Response:
    """Unload models and forget results, after the running prompt."""
    body = await json_of(request)
    state_of(request).free(
        unload_models=bool(body.get("unload_models", False)), free_memory=bool(body.get("free_memory", False))
    )
    return web.Response()


async def get_history(request: web.Request) -> web.Response:
    """Ended prompts, oldest first."""
    max_items, offset = request.query.get("max_items"), request.query.get("offset")
    page = state_of(request).queue.history_page(
        None if max_items is None else int(max_items), -1 if offset is None else int(offset)
    )
    return json_response(page)


async def get_history_of(request: web.Request) -> web.Response:
    """One ended prompt, or nothing."""
    prompt_id = request.match_info["prompt_id"]
    history = state_of(request).queue.history
    return json_response({prompt_id: history[prompt_id]} if prompt_id in history else {})


async def post_history(request: web.Request) -> web.Response:
    """Forget ended prompts."""
    history = state_of(request).queue.history
    body = await json_of(request)
    if body.get("clear"):
        history.clear()
    for prompt_id in body.get("delete", ()):
        history.pop(prompt_id, None)
    return web.Response()


ROUTES = (
    web.get("/prompt", get_prompt),
    web.post("/prompt", post_prompt),
    web.get("/queue", get_queue),
    web.post("/queue", post_queue),
    web.post("/interrupt", post_interrupt),
    web.post("/free", post_free),
    web.get("/history", get_history),
    web.get("/history/{prompt_id}", get_history_of),
    web.post("/history", post_history),
)
