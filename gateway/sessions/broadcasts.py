"""What a runner tells that belongs to no job: its log, to the sessions that subscribed to it; messages and frames of
custom nodes, to the sessions that the runner answers for. As from one server, and not from all runners at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import structlog

from gateway.comfyui.messages import Message
from gateway.runners.errors import RunnerError
from gateway.runners.runner import Runner
from gateway.sessions.session import Session

SUBSCRIBE_PATH = "/internal/logs/subscribe"
SUBSCRIBE_SECONDS = 5.0

ClientKey = tuple[str, str]  # owner and sid
RunnerOf = Callable[[], str | None]
FindRunner = Callable[[str], Runner | None]

log = structlog.get_logger(__name__)


class Broadcasts:
    """Who hears which runner. ``sessions`` are the open ones by owner and sid; they are only read here."""

    def __init__(self, sessions: Mapping[ClientKey, Session]) -> None:
        self._sessions = sessions
        self._runner_of: dict[ClientKey, RunnerOf] = {}
        self._log_readers: dict[str, set[ClientKey]] = {}  # by runner

    def joined(self, client: ClientKey, runner_of: RunnerOf) -> None:
        """A socket stands; ``runner_of`` tells which runner answers for its client at any moment."""
        self._runner_of[client] = runner_of

    async def left(self, client: ClientKey, find_runner: FindRunner) -> None:
        """A socket is gone; with a client's last one go its subscriptions (ComfyUI terminal_service.py)."""
        if client in self._sessions:
            return
        self._runner_of.pop(client, None)
        await self.unsubscribe(client, find_runner)

    # what runners send

    def message(self, runner: str, message: Message) -> None:
        """A text message that names no job, from a runner that runs none, or of its log."""
        readers = self._log_readers.get(runner, ()) if message.type == "logs" else self._heard_by(runner)
        for client in list(readers):
            session = self._sessions.get(client)
            if session is not None:
                session.send(message)

    def frame(self, runner: str, frame: bytes) -> None:
        """A binary frame from a runner that runs no job."""
        for client in list(self._heard_by(runner)):
            session = self._sessions.get(client)
            if session is not None:
                session.send_frame(frame)

    def _heard_by(self, runner: str) -> Iterator[ClientKey]:
        return (client for client, runner_of in self._runner_of.items() if runner_of() == runner)

    # the log

    async def subscribe(self, client: ClientKey, runner: Runner, find_runner: FindRunner) -> None:
        """A client that is connected is sent the runner's new log entries, and no other's. Raises RunnerError."""
        if client not in self._sessions:
            return  # ComfyUI forgets such a subscription with the next entry
        await self.unsubscribe(client, find_runner, but=runner.name)
        readers = self._log_readers.setdefault(runner.name, set())
        readers.add(client)
        try:
            await _tell(runner, enabled=True)
        except RunnerError:
            readers.discard(client)
            raise

    async def unsubscribe(self, client: ClientKey, find_runner: FindRunner, *, but: str | None = None) -> None:
        """The client is no longer sent a log; a runner whose log nobody reads any more is told."""
        for name in [name for name, readers in self._log_readers.items() if client in readers and name != but]:
            self._log_readers[name].discard(client)
            if self._log_readers[name]:
                continue
            del self._log_readers[name]
            runner = find_runner(name)
            try:
                if runner is not None:
                    await _tell(runner, enabled=False)
            except RunnerError as error:
                log.debug("logs.not_unsubscribed", runner=name, reason=error.reason)

    async def runner_connected(self, runner: Runner) -> None:
        """The runner may have restarted, and forgotten that its log is read. Raises RunnerError."""
        if self._log_readers.get(runner.name):
            await _tell(runner, enabled=True)


async def _tell(runner: Runner, *, enabled: bool) -> None:
    body = {"clientId": runner.link.sid, "enabled": enabled}
    await runner.client.request("PATCH", SUBSCRIBE_PATH, json=body, timeout=SUBSCRIBE_SECONDS)
