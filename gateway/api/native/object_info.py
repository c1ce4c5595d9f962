"""``/object_info``: the node classes of the pool as one snapshot, serialised and compressed once."""

from __future__ import annotations

import asyncio
import gzip
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import hdrs, web
from blake3 import blake3

from gateway.access.callers import caller_of
from gateway.api import answers
from gateway.api.asking import NoRunner
from gateway.api.pools import pool_of, scope_of
from gateway.api.services import services
from gateway.comfyui import json_text, object_info
from gateway.runners.pool import Pool

SNAPSHOTS_MOST = 8  # owners, or parts of the pool, whose snapshots are kept, each as large as the catalogue
GZIP_LEVEL = 5
FRESH_SECONDS = 5.0  # a catalogue that was read so recently is not read again for a client that asks for a new one
REFRESH_WAIT_SECONDS = 2.0  # such a client waits at most so long, then gets what is known


@dataclass(slots=True)
class Snapshot:
    """One answer: ``info`` as an object, ``body`` as JSON. ``made_for`` tells when it is out of date."""

    made_for: Any
    info: dict[str, Any]
    body: bytes
    etag: str
    gzipped: bytes | None = None


class ObjectInfo:
    """The pool's /object_info with an owner's own uploads in the upload lists, kept until either changes."""

    def __init__(self) -> None:
        self._snapshots: OrderedDict[tuple[str, str], Snapshot] = OrderedDict()
        self._making = asyncio.Lock()

    async def snapshot(self, request: web.Request) -> Snapshot:
        """The snapshot of now. Raises NoRunner: no runner has told yet what it can run."""
        rooms, pool, owner = services(request), pool_of(request), caller_of(request).owner
        version = pool.shown_version
        if not version:
            raise NoRunner("no runner has told yet what it can run")
        files = rooms.uploads.names("input", owner)
        made_for, key = (version, files), (owner, scope_of(request))
        known = self._snapshots.get(key)
        if known is None or known.made_for != made_for:
            async with self._making:
                known = self._snapshots.get(key)
                if known is None or known.made_for != made_for:
                    known = await asyncio.to_thread(_make, made_for, pool.object_info(), files)
                    self._keep(key, known)
        return known

    async def gzipped(self, snapshot: Snapshot) -> bytes:
        """The snapshot compressed, at the first use, for everyone."""
        if snapshot.gzipped is None:
            async with self._making:
                if snapshot.gzipped is None:
                    snapshot.gzipped = await asyncio.to_thread(gzip.compress, snapshot.body, GZIP_LEVEL, mtime=0)
        return snapshot.gzipped

    def _keep(self, key: tuple[str, str], snapshot: Snapshot) -> None:
        self._snapshots[key] = snapshot
        self._snapshots.move_to_end(key)
        while len(self._snapshots) > SNAPSHOTS_MOST:
            self._snapshots.popitem(last=False)


def _make(made_for: Any, merged: dict[str, Any], files: Sequence[str]) -> Snapshot:
    info = object_info.with_upload_options(merged, files)
    body = json_text.dumps(info).encode()
    return Snapshot(made_for, info, body, blake3(body).hexdigest()[:32])


OBJECT_INFO = web.AppKey("object_info", ObjectInfo)


async def get_object_info(request: web.Request) -> web.Response:
    """All node classes of the pool (ComfyUI server.py get_object_info), with an ETag, compressed where accepted.

    A client that wants no cached answer, as the frontend at start and at its refresh, makes the runners' catalogues
    be read anew and waits for that a little; who is not done by then is in the next answer.
    """
    if _wants_fresh(request):
        await _refresh(pool_of(request))
    cache = request.app[OBJECT_INFO]
    snapshot = await cache.snapshot(request)
    compressed = "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, "").lower()
    etag = f"{snapshot.etag}-gzip" if compressed else snapshot.etag
    headers: dict[str, str] = {hdrs.ETAG: f'"{etag}"', hdrs.VARY: hdrs.ACCEPT_ENCODING}
    if any(known.value in ("*", etag) for known in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    if compressed:
        body = await cache.gzipped(snapshot)
        return answers.json_bytes(body, headers={**headers, hdrs.CONTENT_ENCODING: "gzip"})
    return answers.json_bytes(snapshot.body, headers=headers)


async def get_object_info_of(request: web.Request) -> web.Response:
    """One node class, ``{}`` where no runner has it (ComfyUI server.py get_object_info_node)."""
    name = request.match_info["node_class"]
    snapshot = await request.app[OBJECT_INFO].snapshot(request)
    return answers.json({name: snapshot.info[name]} if name in snapshot.info else {})


def _wants_fresh(request: web.Request) -> bool:
    wishes = request.headers.get(hdrs.CACHE_CONTROL, "").lower()
    return "no-cache" in wishes or "no-store" in wishes


async def _refresh(pool: Pool) -> None:
    tasks = [task for runner in pool if (task := runner.refresh_catalogue(older_than=FRESH_SECONDS)) is not None]
    if tasks:
        await asyncio.wait(tasks, timeout=REFRESH_WAIT_SECONDS)
