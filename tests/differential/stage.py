"""The steps of a scene, and the stage on which one is played: one server, its clients, and all that they are told.

A scene is a line of steps. What a step hears is written down under the step's name; two stages that played the same
scene are then compared as wholes. In paths and bodies `{scene}` stands for the scene's own word, so that no file, no
client and no prefix is shared between scenes, and `{x}` for the id of the job that was submitted as x; what is told has
`{x}` again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import aiohttp
from differential.intended import NEW, OLD
from differential.plain import is_status, last_status
from differential.requests import Case, ask, client
from support.png import texts_of
from support.servers import MARKER, Server
from support.wording import Told, frame_of, normal

PATIENCE_SECONDS = 10.0
SCENE_SECONDS = 5.0
UNMISTAKABLE = 8  # characters of an id that stands nowhere by chance
STATUS_SECONDS = 2.0  # until the last length of the queue is told
FLAGS = {"supports_preview_metadata": True, "supports_progress_text_metadata": True}

Step = Callable[["Stage"], Awaitable[None]]


class Listener:
    """One websocket of a client."""

    def __init__(self, name: str, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.name = name
        self.socket = socket
        self.queue_remaining: Any = None  # as last told
        self._heard: list[Told] = []

    async def listen(self) -> None:
        """Reads up to the marker."""
        while True:
            frame = frame_of(await self.socket.receive(timeout=PATIENCE_SECONDS))
            if frame.get("text", {}).get("type") == MARKER:
                return
            self._note(frame)

    async def listen_for_status(self, queue_remaining: int) -> None:
        """Reads on until this is the length of the queue that was told last, or nothing comes any more."""
        try:
            async with asyncio.timeout(STATUS_SECONDS):
                while self.queue_remaining != queue_remaining:
                    self._note(frame_of(await self.socket.receive()))
        except TimeoutError:
            pass  # the comparison tells

    async def listen_for_flags(self) -> None:
        """Reads up to the server's feature flags."""
        while True:
            frame = frame_of(await self.socket.receive(timeout=PATIENCE_SECONDS))
            self._note(frame)
            if frame.get("text", {}).get("type") == "feature_flags":
                return

    async def pong(self) -> None:
        """Returns once the server has handled what was sent before: it reads the frames of a socket in order."""
        await self.socket.ping()
        while (message := await self.socket.receive(timeout=PATIENCE_SECONDS)).type is not aiohttp.WSMsgType.PONG:
            self._note(frame_of(message))

    def _note(self, frame: Told) -> None:
        told = last_status([frame])
        self.queue_remaining = self.queue_remaining if told is None else told
        if not is_status(frame):
            self._heard.append(frame)

    def heard(self) -> list[Told]:
        """What came since the last time, without `status`."""
        heard, self._heard = self._heard, []
        return heard


class Stage:
    """One server while a scene is played."""

    def __init__(self, server: Server, word: str, http: aiohttp.ClientSession) -> None:
        self.server = server
        self.word = word
        self.http = http
        self.ids: dict[str, str] = {}
        self.listeners: dict[str, Listener] = {}
        self.replaced: list[Listener] = []
        self._told: list[tuple[str, Any]] = []
        self._steps = 0

    @classmethod
    async def play(cls, server: Server, word: str, steps: tuple[Step, ...], first_number: int = 0) -> Told:
        """Plays the steps on a server that is empty, lets everything end, and returns what was told."""
        async with AsyncExitStack() as stack:
            stage = cls(server, word, await stack.enter_async_context(client()))
            server.forget()
            server.count_from(first_number)
            await stage.ask(Case("POST", "/history", {"clear": True}))
            async with asyncio.timeout(SCENE_SECONDS):
                for step in (*steps, go, rest):
                    await step(stage)
            return stage.told()

    def tell(self, name: str, value: Any) -> None:
        """Writes down what a step heard."""
        self._told.append((name, value))

    def heard_at(self, name: str) -> Any:
        """What a step heard."""
        return dict(self._told).get(name)

    def filled(self, value: Any) -> Any:
        """A value with what its names in braces stand for here."""
        if isinstance(value, bytes):
            return value
        text = json.dumps(value).replace("{scene}", self.word)
        for name, prompt_id in self.ids.items():
            text = text.replace(f"{{{name}}}", json.dumps(prompt_id)[1:-1])
        return json.loads(text)

    def told(self) -> Told:
        """All that was written down, in order, in words that servers share."""
        numbered = {f"{number:02} {name}": value for number, (name, value) in enumerate(self._told)}
        told: Told = named(normal(numbered, str(self.server.simulators[0].folders.base)), self.ids)
        return told

    async def ask(self, case: Case) -> Told:
        """Sends a request as the table has it; JSON is told as it came."""
        filled = Case(case.method, self.filled(case.path), self.filled(case.body), self.filled_form(case), case.headers)
        return await ask(self.http, self.server.base, filled, str(self.server.simulators[0].folders.base))

    def filled_form(self, case: Case) -> dict[str, Any] | None:
        """The form with names filled in; contents are bytes and stay."""
        if case.form is None:
            return None
        return {
            name: (self.filled(value[0]), value[1]) if isinstance(value, tuple) else self.filled(value)
            for name, value in case.form.items()
        }


def named(value: Any, ids: dict[str, str]) -> Any:
    """A told value with the names of jobs in place of their ids: in texts only, and a short id only where it is all of
    the text, since a job may be called 7."""
    if isinstance(value, dict):
        return {named(key, ids): named(item, ids) for key, item in value.items()}
    if isinstance(value, list):
        return [named(item, ids) for item in value]
    if isinstance(value, str):
        for name, prompt_id in ids.items():
            if len(prompt_id) >= UNMISTAKABLE or value == prompt_id:
                value = value.replace(prompt_id, f"{{{name}}}")
    return value


@dataclass(frozen=True)
class Scene:
    """A line of a table. ``apart``: over several runners its jobs run at once: frames are compared job by job."""

    name: str
    steps: tuple[Step, ...]
    apart: bool = False
    versions: tuple[str, ...] = (NEW, OLD)

    def __str__(self) -> str:
        return self.name


def scene(name: str, *steps: Step, apart: bool = False, versions: tuple[str, ...] = (NEW, OLD)) -> Scene:
    """A scene of a table."""
    return Scene(name, steps, apart, versions)


# websockets


def connect(name: str, *, flags: Any = None, query: str = "clientId={scene}-NAME") -> Step:
    """A client connects, with an id of its own unless the query says otherwise; ``flags`` are its first frame.

    Its former socket stays open, and hears nothing any more.
    """

    async def step(stage: Stage) -> None:
        if name in stage.listeners:
            await hear(stage)
            stage.replaced.append(stage.listeners[name])
        url = f"{stage.server.base}/ws?{stage.filled(query).replace('NAME', name)}"
        socket = await stage.http.ws_connect(url, max_msg_size=0, autoping=False)
        listener = stage.listeners[name] = Listener(name, socket)
        if flags is not None:
            await socket.send_json({"type": "feature_flags", "data": flags})
            await listener.listen_for_flags()

    return step


def send(name: str, *frames: Any) -> Step:
    """A client sends frames: text as it is, bytes as binary, other values as JSON."""

    async def step(stage: Stage) -> None:
        socket = stage.listeners[name].socket
        for frame in frames:
            if isinstance(frame, bytes):
                await socket.send_bytes(frame)
            else:
                await socket.send_str(frame if isinstance(frame, str) else json.dumps(frame))
        await stage.listeners[name].pong()

    return step


def disconnect(name: str) -> Step:
    """A client closes its websocket; what it has heard until then is told."""

    async def step(stage: Stage) -> None:
        await hear(stage)
        await stage.listeners.pop(name).socket.close()

    return step


async def hear(stage: Stage) -> None:
    """Tells what every client has heard since the last time."""
    await stage.server.mark()
    for listener in stage.listeners.values():
        await listener.listen()
        stage.tell(f"{listener.name} hears", listener.heard())


async def rest(stage: Stage) -> None:
    """Waits until nothing runs or waits; tells what every client has heard, and its last length of the queue."""
    await stage.server.idle()
    await hear(stage)
    remaining = (await ask(stage.http, stage.server.base, Case("GET", "/prompt")))["json"]
    stage.tell("/prompt at rest", remaining)
    for listener in stage.listeners.values():
        await listener.listen_for_status(remaining["exec_info"]["queue_remaining"])
        stage.tell(f"{listener.name} was last told of the queue", listener.queue_remaining)


# requests


def submit(job: str, graph: Any, by: str | None = "A", **more: Any) -> Step:
    """POST /prompt; the id that is answered is known as ``job`` from then on. ``by`` None: without a client_id."""
    body = {"prompt": graph, **({} if by is None else {"client_id": f"{{scene}}-{by}"}), **more}

    async def step(stage: Stage) -> None:
        answer = await stage.ask(Case("POST", "/prompt", body))
        prompt_id = answer.get("json", {}).get("prompt_id")
        if answer["status"] == 200 and isinstance(prompt_id, str) and prompt_id:
            stage.ids[job] = prompt_id
        stage.tell(f"submit {job}", answer)

    return step


def asks(*cases: Case | str) -> Step:
    """Requests, one after the other; a path alone is a GET."""

    async def step(stage: Stage) -> None:
        for each in cases:
            case = each if isinstance(each, Case) else Case("GET", each)
            stage.tell(str(case), await stage.ask(case))

    return step


def posts(path: str, *bodies: Any) -> Step:
    """POSTs, one after the other."""
    return asks(*(Case("POST", path, body) for body in bodies))


def files(job: str) -> Step:
    """Tells the names of a job's files by its history, and of each by /view what it is and which seed made it."""

    async def step(stage: Stage) -> None:
        assert job in stage.ids, f"{job} was not accepted: {stage.heard_at(f'submit {job}')}"
        entry = (await stage.ask(Case("GET", f"/history/{{{job}}}")))["json"]
        outputs = entry.get(stage.ids[job], {}).get("outputs", {})
        for item in (item for output in outputs.values() for item in output.get("images", ())):
            url = f"{stage.server.base}/view"
            async with stage.http.get(url, params=item) as answer:
                made_by = texts_of(await answer.read()).get("prompt") if answer.status == 200 else None
                stage.tell(
                    f"a file of {job}",
                    {"item": item, "status": answer.status, "made by": made_by and json.loads(made_by)},
                )

    return step


# the runners


def hold(after: int = 0) -> Step:
    """Runners stop in a job, after so many units of work (a node's start, a step)."""

    async def step(stage: Stage) -> None:
        for simulator in stage.server.simulators:
            simulator.pause(after)

    return step


async def held(stage: Stage) -> None:
    """Waits until a runner stands in a job, and the server knows it."""
    await stage.server.holds()


async def go(stage: Stage) -> None:
    """Runners go on."""
    for simulator in stage.server.simulators:
        simulator.resume()


def out_of_memory(class_type: str) -> Step:
    """The next node of this class raises."""

    async def step(stage: Stage) -> None:
        for simulator in stage.server.simulators:
            simulator.faults.fail_node(class_type, "torch.OutOfMemoryError", "Allocation on device")

    return step


def apart(told: Told) -> Told:
    """What was told, with sequences of frames sorted into jobs; frames that name none are left out."""
    return {name: _by_job(value) if name.endswith(" hears") else value for name, value in told.items()}


def _by_job(frames: list[Told]) -> dict[str, list[Told]]:
    jobs: dict[str, list[Told]] = {}
    for frame in frames:
        data = frame["text"]["data"] if "text" in frame else frame.get("metadata") or {}
        if "prompt_id" in data:
            jobs.setdefault(data["prompt_id"], []).append(frame)
    return dict(sorted(jobs.items()))
