"""What waits to be delivered to one receiver: its lines, and which of them is due first. No I/O.

Only so many deliveries of one receiver are in memory; what comes after them is read from the database when these have
gone. So a receiver that is away for a day costs the others nothing.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from gateway.jobs.hooks import ENDS, Event
from gateway.storage.webhooks import DeliveryRow

IN_MEMORY_MOST: Final = 2_000  # deliveries of one receiver
UNREACHABLE_MOST: Final = 3  # tries in a row without an answer: then one at a time


@dataclass(slots=True)
class Line:
    """The deliveries of one line, in order. The first is being tried while it ``is_busy``."""

    waiting: deque[DeliveryRow] = field(default_factory=deque)
    is_busy: bool = False


class Target:
    """One receiver, by its origin. Times are monotonic seconds.

    Attributes:
        busy: how many tries are under way.
        unreachable: tries in a row that had no answer.
        loaded_to: the highest seq that is, or was, in memory.
        left_on_disk: the highest seq that is not in memory because there were too many; 0: none is.
        is_loading: whether it is being read what was left.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.busy = 0
        self.unreachable = 0
        self.loaded_to = 0
        self.left_on_disk = 0
        self.is_loading = False
        self.size = 0
        self._lines: dict[str, Line] = {}
        self._due: list[tuple[float, int, str]] = []

    @property
    def is_idle(self) -> bool:
        """Whether nothing of it is left to do."""
        return not self.size and not self.busy and not self.left_on_disk and not self.is_loading

    @property
    def wants_more(self) -> bool:
        """Whether what was left on disk is to be read now."""
        return bool(self.left_on_disk) and not self.is_loading and self.size <= IN_MEMORY_MOST // 2

    def put(self, delivery: DeliveryRow, due: float) -> None:
        """Takes in a new delivery; one with a line of its own, or the next of its line."""
        if delivery.seq <= self.loaded_to:
            return  # it was read from the database already
        if self.left_on_disk or self.size >= IN_MEMORY_MOST:
            self.left_on_disk = max(self.left_on_disk, delivery.seq)
            return
        self.load(delivery, due)

    def load(self, delivery: DeliveryRow, due: float) -> None:
        """Takes in a delivery, however many there are."""
        self.loaded_to = max(self.loaded_to, delivery.seq)
        line = self._lines.setdefault(delivery.line, Line())
        if delivery.event == Event.PROGRESS or delivery.event in ENDS:
            self._supersede(line, delivery)
        line.waiting.append(delivery)
        self.size += 1
        if len(line.waiting) == 1:
            self._push(delivery, due)

    def _supersede(self, line: Line, by: DeliveryRow) -> None:
        """Lets go of progress that is not being tried. Newer progress comes when the older would have."""
        kept = [
            each
            for index, each in enumerate(line.waiting)
            if each.event != Event.PROGRESS or (index == 0 and line.is_busy)
        ]
        self.size -= len(line.waiting) - len(kept)
        if by.event == Event.PROGRESS and line.waiting and not kept:
            by.attempts, by.next_at = line.waiting[0].attempts, line.waiting[0].next_at
        line.waiting = deque(kept)

    def _push(self, delivery: DeliveryRow, due: float) -> None:
        heapq.heappush(self._due, (due, delivery.seq, delivery.line))

    def next_due(self) -> float | None:
        """When the next try is due."""
        while self._due:
            due, seq, key = self._due[0]
            line = self._lines.get(key)
            if line is not None and not line.is_busy and line.waiting and line.waiting[0].seq == seq:
                return due
            heapq.heappop(self._due)
        return None

    def take(self) -> DeliveryRow:
        """The delivery that is due first, which is being tried from now on; ``next_due`` has just told of one."""
        _, _, key = heapq.heappop(self._due)
        line = self._lines[key]
        line.is_busy = True
        self.busy += 1
        return line.waiting[0]

    def has_more_of(self, key: str) -> bool:
        """Whether another delivery of a line waits behind the first."""
        return len(self._lines[key].waiting) > 1

    def tried(self, delivery: DeliveryRow, *, again: float | None, next_due: float) -> None:
        """A try is over. ``again``: when the delivery is tried once more; None: it has ended, and the next one of its
        line is due at ``next_due``."""
        self.busy -= 1
        line = self._lines[delivery.line]
        line.is_busy = False
        if again is None:
            line.waiting.popleft()
            self.size -= 1
        elif len(line.waiting) > 1 and delivery.event == Event.PROGRESS:
            self._drop_old_progress(line)
            again = again if line.waiting[0].event == Event.PROGRESS else None
        if line.waiting:
            self._push(line.waiting[0], next_due if again is None else again)
        else:
            del self._lines[delivery.line]

    def _drop_old_progress(self, line: Line) -> None:
        """What came while it was tried has taken its place: newer progress, or an end."""
        if any(each.event == Event.PROGRESS or each.event in ENDS for each in list(line.waiting)[1:]):
            line.waiting.popleft()
            self.size -= 1
