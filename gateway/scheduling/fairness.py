"""Fair shares of GPU time: start-time fair queueing between owners, and within an owner between its clients.

Each flow has a tag, in seconds of GPU time over its weight. Who has the lowest goes first, and is charged what its job
will take; what the job took in truth is settled when it has ended. A flow that comes back after a pause gets the tag of
whoever goes first then: it has saved nothing up, and owes nothing. (Goyal, Vin, Cheng: Start-time Fair Queueing, 1996.)

Tags never fall. What was charged too much is a credit that later charges use up.
"""

from __future__ import annotations

from dataclasses import dataclass

CREDIT_PART = 0.9  # of a charge: whoever is served moves on, so that nobody who comes stands behind it
FLOWS_FEW = 100
FLOWS_MOST = 10_000  # at each level, of those that wait for nothing

Tags = tuple[float, float]  # of the owner, of the client within it


@dataclass(slots=True)
class _Flow:
    tag: float = 0.0
    credit: float = 0.0
    waiting: int = 0


class _Level:
    """Flows that share the same time, and the virtual time among them: the tag that the last job began with."""

    def __init__(self) -> None:
        self.flows: dict[str, _Flow] = {}
        self.now = 0.0
        self._sweep_at = FLOWS_FEW

    def enter(self, name: str) -> None:
        flow = self._flow(name)
        if not flow.waiting:
            flow.tag = max(flow.tag, self.now)
        flow.waiting += 1

    def leave(self, name: str) -> None:
        self.flows[name].waiting -= 1

    def tag(self, name: str) -> float:
        flow = self.flows.get(name)
        return self.now if flow is None else flow.tag

    def begin(self, name: str, share: float) -> None:
        flow = self._flow(name)
        self.now = max(self.now, flow.tag)
        self._charge(flow, share)

    def settle(self, name: str, share: float) -> None:
        self._charge(self._flow(name), share)

    @staticmethod
    def _charge(flow: _Flow, share: float) -> None:
        if share < 0:
            flow.credit -= share
            return
        used = min(flow.credit, share * CREDIT_PART)
        flow.credit -= used
        flow.tag += share - used

    def _flow(self, name: str) -> _Flow:
        if name not in self.flows:
            if len(self.flows) >= self._sweep_at:
                self._sweep()
            self.flows[name] = _Flow(self.now)
        return self.flows[name]

    def _sweep(self) -> None:
        """Forgets who waits for nothing and owes nothing; past the bound also who owes least."""
        idle = sorted((flow.tag, name) for name, flow in self.flows.items() if not flow.waiting)
        too_many = len(self.flows) - FLOWS_MOST
        for place, (tag, name) in enumerate(idle):
            if tag <= self.now or place < too_many:
                del self.flows[name]
        self._sweep_at = max(FLOWS_FEW, 2 * len(self.flows))


class Shares:
    """Who has had how much. Clients of one owner share what the owner has."""

    def __init__(self) -> None:
        self._owners = _Level()
        self._clients: dict[str, _Level] = {}

    def tags(self, owner: str, client: str) -> Tags:
        """What orders a client's next job among all others: lower goes first."""
        clients = self._clients.get(owner)
        return self._owners.tag(owner), clients.tag(client) if clients is not None else 0.0

    def enter(self, owner: str, client: str) -> None:
        """One more job of the client waits."""
        self._owners.enter(owner)
        self._clients.setdefault(owner, _Level()).enter(client)

    def leave(self, owner: str, client: str) -> None:
        """One job of the client waits no more."""
        self._owners.leave(owner)
        self._clients[owner].leave(client)

    def begin(self, owner: str, client: str, seconds: float, weight: float) -> None:
        """A job is given out that is expected to take so long."""
        self._owners.begin(owner, seconds / weight)
        self._clients.setdefault(owner, _Level()).begin(client, seconds / weight)
        if len(self._clients) > 2 * len(self._owners.flows):
            self._clients = {name: level for name, level in self._clients.items() if name in self._owners.flows}

    def settle(self, owner: str, client: str, seconds: float, weight: float) -> None:
        """A job that was given out took so much longer than expected; negative where it took less, or never ran."""
        self._owners.settle(owner, seconds / weight)
        clients = self._clients.get(owner)
        if clients is not None:
            clients.settle(client, seconds / weight)
