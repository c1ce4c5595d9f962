"""``/history``: what has ended, as clients of one ComfyUI would read it."""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from gateway.access.callers import caller_of
from gateway.api import answers
from gateway.api.others import note_others
from gateway.api.services import services
from gateway.comfyui import json_text


async def get_history(request: web.Request) -> web.Response:
    """Entries by id, oldest end first (ComfyUI server.py get_history)."""
    try:
        max_items = int(request.query["max_items"]) if "max_items" in request.query else None
        offset = int(request.query["offset"]) if "offset" in request.query else -1
    except ValueError:
        return answers.failed()
    found = await services(request).jobs.history.entries(caller_of(request).within, max_items, offset)
    return answers.json_bytes(_object(found))


async def get_history_of(request: web.Request) -> web.Response:
    """One entry, ``{}`` while the job has none (ComfyUI server.py get_history_prompt_id)."""
    job_id = request.match_info["prompt_id"]
    history = services(request).jobs.history
    entry = await history.entry(job_id, caller_of(request).within)
    if entry is None:
        return answers.json({})
    headers = answers.concerning(await history.runner_of(job_id), job_id)
    return answers.json_bytes(_object([(job_id, entry)]), headers=headers)


async def post_history(request: web.Request) -> web.Response:
    """``clear`` and ``delete`` (ComfyUI server.py post_history)."""
    try:
        clear, delete = await answers.clear_and_delete(request)
    except ValueError:
        return answers.failed()
    caller, history = caller_of(request), services(request).jobs.history
    if clear:
        await history.clear(caller.owner)
    if delete:
        note_others(request, "history.delete", (ended for job_id in delete if (ended := history.ended(job_id))))
        await history.delete(delete, caller.within)
    return answers.empty()


def _object(entries: Iterable[tuple[str, bytes]]) -> bytes:
    """A JSON object of entries that are serialised already."""
    return b"{" + b",".join(json_text.dumps(key).encode() + b":" + entry for key, entry in entries) + b"}"
