"""``POST /prompt`` and ``GET /prompt``."""

from __future__ import annotations

from aiohttp import web

from gateway.access import secrets
from gateway.access.callers import caller_of
from gateway.api import answers
from gateway.api.services import services
from gateway.api.terms import terms_of
from gateway.comfyui.history import SECRET_KEYS


async def get_prompt(request: web.Request) -> web.Response:
    """The length of the pool's queue (ComfyUI server.py get_prompt)."""
    remaining = services(request).jobs.remaining_of(caller_of(request).owner)
    return answers.json({"exec_info": {"queue_remaining": remaining}})


async def post_prompt(request: web.Request) -> web.Response:
    """Takes a prompt in (ComfyUI server.py post_prompt)."""
    try:
        body = await answers.body_json(request)
        if isinstance(body, list | str) and not any(key in body for key in ("number", "front", "prompt")):
            body = {}  # ComfyUI asks what is `in` it, and fails only when it takes it out
        if not isinstance(body, dict):
            return answers.failed()
        _note_usage_source(request, body)
        _keep_own_tokens(body)
        answer = await services(request).jobs.submissions.submit(body, caller_of(request).owner, terms_of(request))
    except (ValueError, TypeError):
        return answers.failed()
    headers = {**answer.headers, **answers.concerning(answer.runner, answer.job)}
    if answer.content_type.startswith("application/json"):
        return answers.json_bytes(answer.body, status=answer.status, headers=headers)
    headers["Content-Type"] = answer.content_type
    return web.Response(body=answer.body, status=answer.status, headers=headers)


def _note_usage_source(request: web.Request, body: dict[str, object]) -> None:
    """The frontend tells where a prompt came from in a header, which newer runners keep in ``extra_data``."""
    source = request.headers.get("Comfy-Usage-Source")
    extra_data = body.get("extra_data")
    if source and (extra_data is None or isinstance(extra_data, dict)):
        body["extra_data"] = {"comfy_usage_source": source, **(extra_data or {})}


def _keep_own_tokens(body: dict[str, object]) -> None:
    """Clients of Comfy Cloud send their one key as the API nodes' too. Where it is ours, no runner gets it."""
    extra_data = body.get("extra_data")
    if isinstance(extra_data, dict):
        for key in SECRET_KEYS & extra_data.keys():
            if isinstance(extra_data[key], str) and secrets.is_token(extra_data[key]):
                del extra_data[key]
