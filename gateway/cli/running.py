"""Running one graph on a gateway from the command line: submitting it, hearing its events, saving what it made."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import aiohttp

from gateway.cli.graphs import Graph, described
from gateway.cli.http import GatewayClient, NotDone
from gateway.comfyui.outputs import OutputFile, files

LOOK_SECONDS = 20.0  # without an event: then the job is looked at
AGAIN_SECONDS = 1.0  # before a socket that was lost is opened again
AWAY_MOST = 60  # times in a row that it is
CANCELS_MOST = 3

Tell = Callable[["Step"], None]


class Refused(Exception):
    """The prompt was not taken; ``lines`` say why."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(lines[0])
        self.lines = lines


class NotCompleted(Exception):
    """The job has ended otherwise."""


@dataclass(frozen=True, slots=True)
class Step:
    """Where the job stands: ``done`` of ``nodes``, and the class of the node that runs."""

    done: float
    nodes: int
    what: str


class Run:
    """One run. ``tell`` hears of every step."""

    def __init__(self, gateway: GatewayClient, graph: Graph, tell: Tell) -> None:
        self._gateway = gateway
        self._graph = graph
        self._tell = tell
        self._client_id = uuid.uuid4().hex
        self._finished: set[str] = set()
        self.job = str(uuid.uuid4())
        self._is_sent = False
        self._is_answered = False

    async def to_its_end(self, tags: list[str], priority: int | None) -> None:
        """Submits the graph and returns when the job is completed; cancelled, it has the job cancelled.

        Raises Refused, NotCompleted, NotDone.
        """
        try:
            async with self._socket() as socket:
                await self._submit(tags, priority)
                if await self._heard_end(socket):
                    return
            await self._reconnected()
        except asyncio.CancelledError:
            await self.cancel()
            raise
        except aiohttp.ClientError as error:
            raise NotDone(f"{self._gateway.url} cannot be asked: {error}") from error

    async def cancel(self) -> None:
        """Has the job cancelled, if there is one. One whose prompt has no answer yet may come to be a moment later."""
        with suppress(NotDone):
            for _ in range(CANCELS_MOST if self._is_sent else 0):
                told = await self._gateway.ask("POST", f"/api/jobs/{self.job}/cancel")
                if told["cancelled"] or self._is_answered:
                    return
                await asyncio.sleep(AGAIN_SECONDS)

    def _socket(self) -> Any:
        return self._gateway.socket("/ws", clientId=self._client_id, mode="raw")

    async def _submit(self, tags: list[str], priority: int | None) -> None:
        own = {name: value for name, value in (("tags", tags or None), ("priority", priority)) if value is not None}
        body = {"prompt": self._graph, "prompt_id": self.job, "client_id": self._client_id}
        self._is_sent = True
        body["extra_data"] = {"gateway": own} if own else {}
        status, told = await self._gateway.reply("POST", "/prompt", body=body)
        self._is_answered = True
        if status != 200 or not isinstance(told, dict):
            raise Refused(described(told, status))
        self._tell(Step(0, len(self._graph), "waiting"))

    async def _reconnected(self) -> None:
        """The socket was lost; the job was not."""
        for _ in range(AWAY_MOST):
            await asyncio.sleep(AGAIN_SECONDS)
            try:
                async with self._socket() as socket:
                    if await self._has_ended() or await self._heard_end(socket):
                        return
            except (aiohttp.ClientError, OSError):
                continue
        raise NotDone(f"{self._gateway.url} is gone; job {self.job} goes on there")

    async def _heard_end(self, socket: aiohttp.ClientWebSocketResponse) -> bool:
        """Follows the job. True: it is completed; False: the socket is gone. Raises NotCompleted."""
        while True:
            try:
                message = await socket.receive(timeout=LOOK_SECONDS)
            except TimeoutError:
                if await self._has_ended():
                    return True
                continue
            if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING):
                return False
            if message.type is aiohttp.WSMsgType.ERROR:
                return False
            if message.type is aiohttp.WSMsgType.TEXT and self._heard(message.json()):
                return await self._has_ended()

    def _heard(self, message: dict[str, Any]) -> bool:
        """Takes in an event; True for the last one of the job."""
        kind, data = message.get("type"), message.get("data") or {}
        if data.get("prompt_id") != self.job:
            return False
        if kind == "execution_cached":
            self._finished |= set(map(str, data.get("nodes") or ()))
        elif kind == "executed":
            self._finished.add(str(data.get("node")))
        elif kind == "progress_state":
            self._progress(data.get("nodes") or {})
        elif kind == "executing" and data.get("node") is not None:
            self._at(str(data["node"]), 0.0)
        return kind == "executing" and data.get("node") is None

    def _progress(self, nodes: dict[str, Any]) -> None:
        self._finished |= {node for node, state in nodes.items() if state.get("state") == "finished"}
        for node, state in nodes.items():
            if state.get("state") == "running":
                most = float(state.get("max") or 1)
                self._at(node, min(float(state.get("value") or 0) / most, 1.0))
                return

    def _at(self, node: str, part: float) -> None:
        what = self._graph.get(node, {}).get("class_type", node)
        self._tell(Step(min(len(self._finished) + part, len(self._graph)), len(self._graph), what))

    async def _has_ended(self) -> bool:
        """Whether the job is completed; False while it has not ended. Raises NotCompleted, NotDone."""
        told = await self._gateway.ask("GET", f"/api/jobs/{self.job}")
        match told.get("status"):
            case "completed":
                self._tell(Step(len(self._graph), len(self._graph), "completed"))
                return True
            case "failed":
                raise NotCompleted(_failure(told.get("execution_error") or {}))
            case "cancelled":
                raise NotCompleted("the job was cancelled")
        return False

    async def save(self, folder: Path) -> list[Path]:
        """Saves the files that the job has made; returns where. Pictures of previews only where nothing was saved.

        Raises NotDone, OSError.
        """
        told = await self._gateway.ask("GET", f"/api/jobs/{self.job}")
        made = list(dict.fromkeys(files(told.get("outputs") or {})))
        wanted = [file for file in made if file.type == "output"] or [file for file in made if file.type == "temp"]
        saved = []
        for file in wanted:
            path = _free(folder / _inside(file))
            path.parent.mkdir(parents=True, exist_ok=True)
            query = {"filename": file.filename, "subfolder": file.subfolder, "type": file.type}
            await self._gateway.download("/view", path, **query)
            saved.append(path)
        return saved


def _failure(error: dict[str, Any]) -> str:
    node = f"node {error['node_id']} ({error.get('node_type')}): " if error.get("node_id") else ""
    message = str(error.get("exception_message") or "it failed").strip()
    return f"{node}{error.get('exception_type') or 'error'}: {message}"


def _inside(file: OutputFile) -> Path:
    """A relative path that stays below the folder, whatever the gateway says."""
    parts = [part for part in PurePosixPath(file.subfolder, file.filename).parts if part not in ("/", "..", ".")]
    return Path(*parts) if parts else Path("output")


def _free(path: Path) -> Path:
    """A path at which nothing is: files of earlier runs stay."""
    free, number = path, 0
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free
