"""The queue of prompts as ComfyUI has it (execution.py PromptQueue): a heap, what runs, and the history."""

import asyncio
import heapq
from collections.abc import Callable
from typing import Any

from gateway.simulator.values import JSON

MAX_HISTORY = 10000  # entries

QueueItem = tuple[Any, ...]
"""(number, prompt_id, prompt, extra_data, outputs_to_execute, secrets)"""

SECRETS = ("auth_token_comfy_org", "api_key_comfy_org")


class PromptQueue:
    """Pending prompts, the running one, and what came of the others. `changed` is called where ComfyUI sends status."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._available = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.pending: list[QueueItem] = []
        self.running: dict[int, QueueItem] = {}
        self.history: dict[str, dict[str, Any]] = {}
        self._task_counter = 0

    @property
    def remaining(self) -> int:
        """Pending and running prompts."""
        return len(self.pending) + len(self.running)

    async def idle(self) -> None:
        """Wait until nothing is pending or running."""
        await self._idle.wait()

    def _tell(self) -> None:
        if self.remaining:
            self._idle.clear()
        else:
            self._idle.set()
        self._changed()

    def put(self, item: QueueItem) -> None:
        """Add a prompt.

        Raises:
            TypeError: it has number and id of another one; it is in the queue all the same, as in ComfyUI.
        """
        heapq.heappush(self.pending, item)
        self._available.set()
        self._tell()

    async def get(self) -> tuple[int, QueueItem]:
        """Wait for the next prompt and make it the running one; gives a key for `done`."""
        while not self.pending:
            self._available.clear()
            await self._available.wait()
        item = heapq.heappop(self.pending)
        key = self._task_counter
        self._task_counter += 1
        self.running[key] = item
        self._tell()
        return key, item

    def requeue_running(self) -> None:
        """Put back what ran when the worker was taken away."""
        for item in self.running.values():
            heapq.heappush(self.pending, item)
        self.running.clear()
        self._available.set()

    def done(self, key: int, entry: dict[str, Any]) -> None:
        """The running prompt ended; `entry` has outputs, status and meta."""
        item = self.running.pop(key)
        if len(self.history) > MAX_HISTORY:
            del self.history[next(iter(self.history))]
        number, prompt_id, prompt, extra_data, outputs, *_ = item
        if isinstance(extra_data, dict):
            extra_data = {name: value for name, value in extra_data.items() if name not in SECRETS}
        self.history[prompt_id] = {"prompt": [number, prompt_id, prompt, extra_data, outputs], **entry}
        self._tell()

    def wipe(self) -> None:
        """Drop everything pending."""
        self.pending = []
        self._tell()

    def delete(self, prompt_id: JSON) -> bool:
        """Drop one pending prompt; whether there was one."""
        for index, item in enumerate(self.pending):
            if item[1] == prompt_id:
                if len(self.pending) == 1:
                    self.wipe()
                else:
                    del self.pending[index]
                    heapq.heapify(self.pending)
                self._tell()
                return True
        return False

    def is_running(self, prompt_id: JSON) -> bool:
        """Whether this prompt is the running one."""
        return any(item[1] == prompt_id for item in self.running.values())

    def listing(self) -> dict[str, Any]:
        """GET /queue; pending ones in the order of the heap, as ComfyUI gives them."""
        return {
            "queue_running": [list(item[:5]) for item in self.running.values()],
            "queue_pending": [list(item[:5]) for item in self.pending],
        }

    def history_page(self, max_items: int | None, offset: int) -> dict[str, Any]:
        """GET /history: oldest first; without an offset (-1) the newest `max_items`."""
        if offset < 0 and max_items is not None:
            offset = len(self.history) - max_items
        page: dict[str, Any] = {}
        for index, (prompt_id, entry) in enumerate(self.history.items()):
            if index < offset:
                continue
            page[prompt_id] = entry
            if max_items is not None and len(page) >= max_items:
                break
        return page
