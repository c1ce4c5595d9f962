"""The jobs that have ended: their /api/jobs rows in memory, and their history entries in the database.

ComfyUI keeps 10,000 entries and forgets the rest (execution.py MAXIMUM_HISTORY_SIZE); the listing of each owner does
the same, while a job asked for by its id is found for as long as the database has it. No owner's jobs push another's
out of the listing, unless there are very many owners; then it is the longest listing that loses its oldest job.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from typing import Any

from gateway.comfyui import json_text
from gateway.jobs.owners import HOUSE
from gateway.storage import jobs as job_rows
from gateway.storage.database import Database
from gateway.storage.errors import StorageError

LISTED_MOST = 10_000  # jobs of one owner
LISTED_IN_ALL = 50_000  # jobs
WARM_ENTRIES = 512  # entries kept in memory: clients ask for a job's entry right after its end
_ROW = attrgetter("row")  # of what has ended


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that has ended; ``row`` is its row of /api/jobs."""

    id: str
    owner: str
    runner: str | None
    row: dict[str, Any]


class History:
    """The ended jobs of all owners, in the order in which they ended."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._ended: OrderedDict[str, Ended] = OrderedDict()  # everyone's
        self._of_owner: dict[str, OrderedDict[str, Ended]] = {}
        self._warm: OrderedDict[str, bytes] = OrderedDict()
        self._reading = asyncio.Lock()  # whoever asks for the newest entries has his turn
        self._highest = -1
        self._newest_end = 0

    async def load(self) -> None:
        """Reads the listing of earlier lives of the gateway."""
        listed = [
            row
            for owner in await job_rows.load_owners(self._db)
            for row in await job_rows.load_finished_rows(self._db, owner=owner, newest=LISTED_MOST)
        ]
        for found in sorted(listed, key=lambda row: (row.ended_at, row.seq)):
            if found.summary is not None:
                row = json_text.loads(found.summary)
                self._list(Ended(found.id, found.owner, None, row))
                self._count(row.get("priority"))
            self._newest_end = max(self._newest_end, found.ended_at)

    def add(self, ended: Ended, entry: bytes) -> None:
        """Takes in a job that has just ended, with its history entry as JSON."""
        self._list(ended)
        self._keep_warm(ended.id, entry)

    def number_for(self, number: float) -> float:
        """The number under which a job that ends now is listed: its own, or a higher one if a later job was faster.

        On one server jobs end in the order of the pool's counter, and frontends that read /history take in only what
        has a higher number than all they know (stores/queueStore.ts, up to 2025). Numbers that a client has chosen, by
        itself or by `front`, stay as they are.
        """
        if isinstance(number, int) and 0 <= number <= self._highest:
            number = self._highest + 1
        self._count(number)
        return number

    def end_time(self, now: int) -> int:
        """When a job that ends now has ended, in ms: never before one that has ended already, however the machine's
        clock was set meanwhile. The order of the history is the order of these times."""
        self._newest_end = max(self._newest_end, now)
        return self._newest_end

    def _count(self, number: object) -> None:
        if isinstance(number, int):
            self._highest = max(self._highest, number)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._ended

    def get(self, job_id: str) -> Ended | None:
        """A listed job."""
        return self._ended.get(job_id)

    def ended(self, job_id: str) -> Ended | None:
        """A listed job."""
        return self._ended.get(job_id)

    def rows(self, owner: str | None) -> Iterator[dict[str, Any]]:
        """The /api/jobs rows of an owner's jobs, or of everyone's, oldest end first."""
        return map(_ROW, self._listed(owner).values())

    async def entry(self, job_id: str, owner: str | None) -> bytes | None:
        """A job's history entry as JSON; None if it has none, or is another's, or was deleted."""
        ended = self._ended.get(job_id)
        if ended is not None and job_id in self._warm:
            return self._warm[job_id] if owner is None or ended.owner == owner else None
        row = await job_rows.load_job(self._db, job_id)
        if row is None or row.hidden or (owner is not None and row.owner != owner):
            return None
        return row.entry

    async def runner_of(self, job_id: str) -> str | None:
        """The runner that ended the job."""
        ended = self._ended.get(job_id)
        if ended is not None and ended.runner is not None:
            return ended.runner
        row = await job_rows.load_job(self._db, job_id)
        return row.runner if row else None

    async def entries(self, owner: str | None, max_items: int | None, offset: int) -> list[tuple[str, bytes]]:
        """History entries as (id, JSON), oldest end first, by ComfyUI's rules (execution.py get_history).

        The newest ones are told in the order in which they were asked for: frontends that ask again before they have
        the answer show what came last (stores/queueStore.ts, up to 2025), and one server answers in order.

        Args:
            owner: whose, None for everyone's.
            max_items: at most so many; the newest ones where ``offset`` is negative.
            offset: from the oldest.
        """
        if offset >= 0:
            await self._flushed()
            return await job_rows.load_entries(self._db, owner=owner, offset=offset, limit=max_items)
        newest = LISTED_MOST if max_items is None else min(max(max_items, 0), LISTED_MOST)
        if min(newest, len(self._listed(owner))) > WARM_ENTRIES:
            await self._flushed()
            return await job_rows.load_entries(self._db, owner=owner, newest=newest)
        async with self._reading:
            found = self._newest_if_warm(owner, newest)
            if found is None:
                await self._flushed()
                found = await job_rows.load_entries(self._db, owner=owner, newest=newest)
                for job_id, entry in found:
                    if job_id in self._ended:
                        self._keep_warm(job_id, entry)
        return found

    async def _flushed(self) -> None:
        """What has ended a moment ago is to be in what is read; without the disk, what was stored is."""
        with suppress(StorageError):
            await self._db.flushed()

    def _newest_if_warm(self, owner: str | None, newest: int) -> list[tuple[str, bytes]] | None:
        ids = list(islice(reversed(self._listed(owner)), newest))
        if any(job_id not in self._warm for job_id in ids):
            return None
        return [(job_id, self._warm[job_id]) for job_id in reversed(ids)]

    def _listed(self, owner: str | None) -> OrderedDict[str, Ended]:
        return self._ended if owner is None else self._of_owner.get(owner, OrderedDict())

    def _keep_warm(self, job_id: str, entry: bytes) -> None:
        self._warm[job_id] = entry
        while len(self._warm) > WARM_ENTRIES:
            self._warm.popitem(last=False)

    async def delete(self, job_ids: Collection[str], owner: str | None) -> None:
        """Takes jobs out of the history; unknown ids, and another's, are passed over. Raises StorageError."""
        mine = [job_id for job_id in job_ids if self._may_delete(job_id, owner)]
        if mine:
            await self._db.write(job_rows.hide_jobs(mine))
        for job_id in mine:
            self._forget(job_id)

    async def clear(self, owner: str | None) -> None:
        """Empties an owner's history, or everyone's. Raises StorageError."""
        await self._db.write(job_rows.hide_all(owner))
        for job_id in list(self._ended if owner is None else self._of_owner.get(owner, ())):
            self._forget(job_id)

    def _may_delete(self, job_id: str, owner: str | None) -> bool:
        ended = self._ended.get(job_id)
        return owner is None or (ended is not None and ended.owner == owner)

    def _list(self, ended: Ended) -> None:
        if ended.owner == HOUSE:
            return
        self._ended[ended.id] = ended
        own = self._of_owner.setdefault(ended.owner, OrderedDict())
        own[ended.id] = ended
        if len(own) > LISTED_MOST:
            self._forget(next(iter(own)))
        elif len(self._ended) > LISTED_IN_ALL:
            longest = max(self._of_owner.values(), key=lambda listed: len(listed))
            self._forget(next(iter(longest)))

    def _forget(self, job_id: str) -> None:
        self._warm.pop(job_id, None)
        ended = self._ended.pop(job_id, None)
        if ended is None:
            return
        own = self._of_owner[ended.owner]
        del own[job_id]
        if not own:
            del self._of_owner[ended.owner]
