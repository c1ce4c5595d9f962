"""The runner's log as ComfyUI serves it: a ring of entries, and the clients that want to see new ones."""

import datetime
from collections import deque
from typing import Any

from gateway.simulator.sockets import Sockets

RING_SIZE = 300  # entries
TERMINAL = {"cols": 80, "rows": 24}


class Logs:
    """What a runner printed."""

    def __init__(self, sockets: Sockets, prefix: str) -> None:
        self._sockets = sockets
        self._prefix = prefix
        self._subscribers: set[str] = set()
        self._size_told = False
        self.entries: deque[dict[str, Any]] = deque(maxlen=RING_SIZE)

    def write(self, line: str, *, green: bool = False) -> None:
        """Print a line, in green where this version prints in colour; connected subscribers get it."""
        if green and self._prefix:
            line = f"\x1b[32m{line}\x1b[0m"
        now = datetime.datetime.now(tz=datetime.UTC).replace(tzinfo=None)
        entry = {"t": now.isoformat(), "m": f"{self._prefix}{line}\n"}
        self.entries.append(entry)
        if not self._subscribers:
            return
        size = None if self._size_told else TERMINAL
        self._size_told = True
        self._subscribers = {sid for sid in self._subscribers if sid in self._sockets}
        for sid in self._subscribers:
            self._sockets.send("logs", {"entries": [entry], "size": size}, sid)

    def text(self) -> str:
        """All entries as one text."""
        return "".join(f"{entry['t']} - {entry['m']}" for entry in self.entries)

    def raw(self) -> dict[str, Any]:
        """GET /internal/logs/raw."""
        self._size_told = True
        return {"entries": list(self.entries), "size": TERMINAL}

    def subscribe(self, client_id: str, *, enabled: bool) -> None:
        """Send new lines to a client, or no longer."""
        if enabled:
            self._subscribers.add(client_id)
        else:
            self._subscribers.discard(client_id)
