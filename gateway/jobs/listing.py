"""``GET /queue``, put together of what is JSON already, or compressed already: with ten thousand waiting jobs it is a
hundred megabytes, most of them graphs and workflows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from gateway.comfyui import json_text
from gateway.jobs.deflate import Part, stream
from gateway.jobs.job import Job

AT_ONCE = 32  # jobs that are compressed without a thread

Piece = bytes | memoryview


class QueueListing:
    """The listing of these jobs, as they are now."""

    def __init__(self, running: Sequence[Job], pending: Sequence[Job]) -> None:
        self._running = running
        self._pending = pending

    def __len__(self) -> int:
        """How many jobs it has."""
        return len(self._running) + len(self._pending)

    def pieces(self) -> list[Piece]:
        """The JSON."""
        running = [piece for job in self._running for piece in _item(job)]
        pending = [piece for job in self._pending for piece in _item(job)]
        return [b'{"queue_running":[', *running[1:], b'],"queue_pending":[', *pending[1:], b"]}"]

    async def deflated(self) -> list[bytes]:
        """The same compressed (`gateway.jobs.deflate`): each job once, however often it is listed."""
        new = [job for job in (*self._running, *self._pending) if job.listed is None]
        if len(new) > AT_ONCE:
            await asyncio.to_thread(_compress, new)
        else:
            _compress(new)
        return stream(self._parts())

    def _parts(self) -> Iterator[Part]:
        yield Part.of(b'{"queue_running":[')
        yield from _parts_of(self._running)
        yield Part.of(b'],"queue_pending":[')
        yield from _parts_of(self._pending)
        yield Part.of(b"]}")


def _compress(jobs: Iterable[Job]) -> None:
    for job in jobs:
        if job.listed is None:  # another request may have done it meanwhile
            job.listed = Part.of(b"".join(_item(job)))


def _parts_of(jobs: Sequence[Job]) -> Iterator[Part]:
    """All have been compressed with a comma before them, which the first one must not have."""
    if jobs:
        yield Part.of(b"".join(_item(jobs[0])[1:]))
        yield from (job.listed for job in islice(jobs, 1, None) if job.listed is not None)


def _item(job: Job) -> list[Piece]:
    """A job as an item of the list, after a comma; its shape is history.queue_item's."""
    head = json_text.dump_bytes([job.number, job.id])[:-1]
    extra_data: list[Piece] = [job.content.extra_data_json]
    if job.client_id is not None:
        comma = b"," if len(job.content.extra_data_json) > len(b"{}") else b""
        client_id = b'%b"client_id":%b}' % (comma, json_text.dump_bytes(job.client_id))
        extra_data = [memoryview(job.content.extra_data_json)[:-1], client_id]
    outputs = json_text.dump_bytes(job.outputs_to_execute)
    return [b",", head + b",", job.content.prompt_json, b",", *extra_data, b"," + outputs + b"]"]
