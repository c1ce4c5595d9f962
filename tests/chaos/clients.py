"""The clients of a run: what each has asked for, what it was answered, and what it was told, gaps included."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp
from chaos.inputs import saved_by, upload_of
from chaos.traces import DONE, GAP
from support.graphs import save_graph

ANSWER_SECONDS = 10.0
FROM_INPUT = "copied"  # how the names of pictures begin that show an input
Answered = tuple[int, Any, str | None]


@dataclass
class Submission:
    """One POST /prompt. ``status`` None: no answer came. ``job`` is the id in the answer, else the one asked for."""

    seed: int
    kind: str
    client: int
    job: str | None
    chosen: bool
    image: str | None = None  # the input that it names: an upload, or "… [output]"
    status: int | None = None
    answer: Any = None
    validated: bool = False  # by a runner
    asked_to_end: set[str] = field(default_factory=set)

    @property
    def accepted(self) -> bool:
        return self.status == 200


class ChaosClient:
    """One client. ``traces`` has what its socket told of each job, in order; ``heard`` what it told, of all of them."""

    def __init__(self, number: int, base: Callable[[], str], note: Callable[[str, str], None], mode: str) -> None:
        self.number = number
        self.mode = mode
        self.heard: list[tuple[str, str]] = []
        self.sid = f"client-{number}"
        self.traces: defaultdict[str, list[tuple[str, Any]]] = defaultdict(list)
        self.remaining: int | None = None
        self.gaps = 0
        self._base = base
        self._note = note
        self._wants_socket = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._http: aiohttp.ClientSession
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    async def start(self) -> None:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS))
        self._wants_socket.set()
        self._task = asyncio.create_task(self._listen(), name=self.sid)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._http.close()

    # the websocket

    async def leave(self) -> None:
        """Goes, and stays away."""
        self._wants_socket.clear()
        if self._socket is not None:
            await self._socket.close()

    async def reconnect(self) -> None:
        """Comes back; where its socket stands, it is replaced by a new one of the same id."""
        if self._socket is not None:
            await self._socket.close()
        self._wants_socket.set()

    @property
    def is_connected(self) -> bool:
        return self._socket is not None

    async def _listen(self) -> None:
        while True:
            await self._wants_socket.wait()
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with self._http.ws_connect(
                    f"{self._base()}/ws?clientId={self.sid}&mode={self.mode}",
                    max_msg_size=0,
                    timeout=aiohttp.ClientWSTimeout(1, 0.1),
                ) as socket:
                    self._socket = socket
                    try:
                        async for frame in socket:
                            if frame.type is aiohttp.WSMsgType.TEXT:
                                self._heard(json.loads(frame.data))
                    finally:
                        self._socket = None
                        self._gap()
            await asyncio.sleep(0.02)

    def _gap(self) -> None:
        self.gaps += 1
        self._note(self.sid, "socket gone")
        for trace in self.traces.values():
            trace.append((GAP, None))

    def _heard(self, message: dict[str, Any]) -> None:
        kind, data = message["type"], message["data"]
        if kind == "status":
            self.remaining = data["status"]["exec_info"]["queue_remaining"]
        job = data.get("prompt_id")
        if job is None:
            return
        if job not in self.traces and self.gaps:
            self.traces[job].append((GAP, None))  # what it missed may have been about this job
        if kind == "executing" and data["node"] is None:
            kind = DONE
        self.traces[job].append((kind, data))
        self.heard.append((job, kind))
        if kind in (DONE, "execution_start"):
            self._note(self.sid, f"heard {kind} of {job}")

    # requests

    async def post(self, path: str, body: Any) -> Answered | None:
        """Status, JSON, and the runner that it is from; None: no complete answer came."""
        try:
            async with self._http.post(self._base() + path, json=body) as response:
                text = await response.text()
                parsed = json.loads(text) if response.content_type == "application/json" else text
                return response.status, parsed, response.headers.get("X-Gateway-Runner")
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None

    async def get(self, path: str, **params: str) -> tuple[int, bytes] | None:
        """Status and body; None: no complete answer came."""
        try:
            async with self._http.get(self._base() + path, params=params) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None

    async def upload(self, seed: int, *, overwrite: bool) -> str | None:
        """Uploads the picture of a seed. Returns the name that it has now; None: it was not taken."""
        name, picture = upload_of(seed, overwrite=overwrite)
        form = aiohttp.FormData()
        form.add_field("image", picture, filename=name, content_type="image/png")
        form.add_field("overwrite", "true" if overwrite else "false")
        try:
            async with self._http.post(f"{self._base()}/upload/image", data=form) as response:
                text = await response.text()
                self._note(self.sid, f"uploaded {name} of seed {seed}: {response.status} {text[:80]}")
                return str(json.loads(text)["name"]) if response.status == 200 else None
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None

    async def picture_of(self, job: str) -> str | None:
        """A picture that a job has saved, as LoadImage names it; None: there is none, or no answer."""
        found = await self.get(f"/history/{quote(job, safe='')}")
        entry = json.loads(found[1]).get(job) if found is not None and found[0] == 200 else None
        return next(iter(saved_by(entry, "3")), None) if entry is not None else None

    async def submit(self, submission: Submission, order: dict[str, Any]) -> None:
        """Posts, and notes the answer."""
        body = {"prompt": graph_of(submission), "client_id": self.sid, **order}
        if submission.chosen:
            body["prompt_id"] = submission.job
        found = await self.post("/prompt", body)
        if found is not None:
            submission.status, submission.answer, runner = found
            submission.validated = runner is not None
            if submission.accepted:
                submission.job = submission.answer["prompt_id"]
        what = f"{submission.kind} {submission.image}" if submission.image else submission.kind
        self._note(self.sid, f"submitted seed {submission.seed} ({what}): {submission.status} {submission.job}")


def graph_of(submission: Submission) -> dict[str, Any]:
    """The graph of a submission, by its kind; every picture carries its seed."""
    seed, kind = submission.seed, submission.kind
    graph = save_graph(
        seed, steps=4 if kind == "long" else 2, seconds=0.08 if kind == "long" else 0.004, prefix=f"p{seed % 2}"
    )
    if kind == "failing":
        graph["2"]["inputs"]["fail_at"] = 1
    if kind == "invalid":
        del graph["3"]["inputs"]["images"]
    if kind == "partly":
        graph["4"] = {"class_type": "SaveImage", "inputs": {"filename_prefix": "never"}}
    if submission.image is not None:  # its own picture, and the input as it is
        graph["1"] = {"class_type": "LoadImage", "inputs": {"image": submission.image}}
        graph["4"] = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": FROM_INPUT}}
    return graph


def chosen_id(kind: str, seed: int) -> str:
    """An id of the client's own: one that every ComfyUI takes, or one that only the gateway does."""
    return str(uuid.UUID(int=seed, version=4)) if kind == "uuid" else f"job of {seed}, ünlike others"
