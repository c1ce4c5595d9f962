"""``/internal/files``: the names in the gateway's own folders, for the frontend and for nodes that load outputs."""

from __future__ import annotations

from heapq import merge
from operator import itemgetter

from aiohttp import web

from gateway.access.callers import caller_of
from gateway.api import answers
from gateway.api.services import services
from gateway.comfyui import names


async def get_files(request: web.Request) -> web.Response:
    """What of the caller's lies in a type's folder itself, the newest first (ComfyUI api_server/routes/internal)."""
    kind = request.match_info["directory_type"]
    if not names.is_file_type(kind):
        return answers.json({"error": "Invalid directory type"}, status=400)
    rooms = services(request)
    owner = caller_of(request).owner
    made = ((row.created_at, row.filename) for row in rooms.outputs.newest(kind, "", owner))
    sent = sorted(((row.modified_at, row.filename) for row in rooms.uploads.rows_in(kind, "", owner)), reverse=True)
    both = merge(made, sent, key=itemgetter(0), reverse=True)
    newest_first = dict.fromkeys(name for _, name in both if not name.startswith("."))
    return answers.json([f"{name} [{kind}]" for name in newest_first])


INTERNAL = [web.get("/internal/files/{directory_type}", get_files)]  # bare only
