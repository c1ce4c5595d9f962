"""Sends the scenarios of a recording to a runner and tells both sides in the same words, so that they can be compared.

What a recording lacks, because it is not part of an answer, stands here: the prompts that were running in some scenes,
the files that were uploaded, headers and bodies of requests that are no JSON.
"""

import asyncio
import base64
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from gateway.comfyui import frames
from gateway.simulator import Simulator, SimulatorOptions

RECORDINGS = Path(__file__).parents[2] / "data" / "recordings"
SPEED = 60.0  # the recorded jobs take 0.1 to 3 seconds

SUBMITTER = "11111111-2222-4333-8444-555555555555"
OTHER_SITE = {"Origin": "http://elsewhere.example"}
MARKER = "end of scenario"

IGNORED_HEADERS = {"Server", "Date"}
TIMES = {"timestamp", "create_time", "execution_start_time", "execution_end_time", "modified", "created", "t"}
MACHINE = {"ram_total", "ram_free", "vram_total", "vram_free", "torch_vram_total", "torch_vram_free"} | {
    "python_version",
    "pytorch_version",
}

Recording = dict[str, Any]


def probe(color: int, *, steps: int = 4, seconds: float = 0.6) -> dict[str, Any]:
    """The graph of the recordings; colour and seed are the same number."""
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": color}},
        "2": {
            "class_type": "ProgressProbe",
            "inputs": {"image": ["1", 0], "steps": steps, "seconds": seconds, "seed": color, "fail_at": -1},
        },
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "rec"}},
    }


class Replay:
    """One recording against one runner; scenarios go in the recording's order, because they build on each other."""

    def __init__(self, runner: Simulator, session: aiohttp.ClientSession, recording: Recording) -> None:
        self._runner = runner
        self._session = session
        self.version = runner.options.version
        self.recording = recording
        self._ids: dict[str, str] = {}
        self._upload = re.search(r"filename=(\w+)\.png", json.dumps(recording["view_range"]["request"]))[1]
        self._picture = base64.b64decode(recording["view /view?filename={upload}.png&type=input"]["body_base64"])
        self._acts: dict[str, Callable[[Recording], Awaitable[None]]] = {
            "queue_running_and_pending": self._fill_the_queue,
            "queue_delete_pending": self._first_step,
            "history_interrupted": self._let_the_queue_run_out,
            "queue_clear": self._run_and_wait(31, 1.0),
            "queue_after_clear": self._wait_for_the_interrupt,
            "job_cancel_pending": self._run_and_wait_for_cancel,
            "job_cancel_finished": self._wait_for_the_interrupt,
        }

    async def open(self) -> None:
        """Connect the two sockets that listen all the time."""
        self._submitter = await self._session.ws_connect("/ws", params={"clientId": SUBMITTER})
        self._bystander = await self._session.ws_connect("/ws")

    async def scenario(self, name: str) -> tuple[Any, Any]:
        """What the recording says and what the runner does, in comparable words."""
        recorded = self.recording[name]
        if name in self._acts:
            await self._acts[name](recorded)
        if name == "ws_connect":
            return self._told(recorded), self._told(await self._hello())
        if name == "queue_scene_websocket":
            submitter, bystander = await self._frames()
            told = {"submitter": submitter, "bystander": bystander}
            return self._told({key: recorded[key] for key in told}), self._told(told)
        if name == "ws_reconnect_same_client_id_while_running":
            told = self._told(await self._reconnect())
            return self._told(recorded), told
        answer = await self._request(name, recorded)
        return self._told(recorded), self._told(answer)

    # -- requests

    async def _request(self, name: str, recorded: Recording) -> Recording:
        request = recorded["request"]
        headers, data = self._unrecorded(name)
        options: dict[str, Any] = {"headers": headers, "data": data}
        if "json" in request:
            options = {"headers": headers, "json": self._mapped(request["json"])}
        url = URL(self._runner.url + self._mapped(request["path"]), encoded=True)
        async with self._session.request(request["method"], url, **options) as response:
            body = await response.read()
            answer: Recording = {"request": request, "status": response.status}
            answer["headers"] = {key: response.headers[key] for key in response.headers}
        answer |= _body(answer["headers"], body, recorded)
        if isinstance(answer.get("json"), dict) and "prompt_id" in answer["json"]:
            self._ids[recorded["json"]["prompt_id"]] = answer["json"]["prompt_id"]
        if "websocket_submitter" in recorded:
            await self._until_idle()
            answer["websocket_submitter"], answer["websocket_bystander"] = await self._frames()
        if "history" in recorded:
            prompt_id = answer["json"]["prompt_id"]
            async with self._session.get(f"/history/{prompt_id}") as response:
                answer["history"] = await response.json()
        return answer

    def _unrecorded(self, name: str) -> tuple[dict[str, str], Any]:
        """Headers and body that the recording of a request leaves out."""
        if name in ("origin_mismatch", "options_preflight"):
            return OTHER_SITE, None
        if name == "view_range":
            return {"Range": "bytes=0-7"}, None
        if name == "view_if_none_match":
            facts = (self._runner.folders.base / "input" / f"{self._upload}.png").stat()
            return {"If-None-Match": f'"{facts.st_mtime_ns:x}-{facts.st_size:x}"'}, None
        bodies = {
            "prompt_not_json": b"{not json",
            "userdata_post": b'{"a": 1}',
            "userdata_post_again_no_overwrite": b"x",
        }
        return {}, bodies.get(name, self._form(name))

    def _form(self, name: str) -> aiohttp.FormData | None:
        fields = {
            "upload_new": {},
            "upload_same_again": {},
            "upload_other_bytes_same_name": {},
            "upload_overwrite": {"overwrite": "true"},
            "upload_subfolder": {"subfolder": "pasted"},
            "upload_temp": {"type": "temp"},
            "upload_traversal": {"subfolder": "../.."},
            "upload_no_file": {"type": "input"},
            "upload_mask": {
                "subfolder": "clipspace",
                "original_ref": json.dumps({"filename": f"{self._upload}.png", "type": "input", "subfolder": ""}),
            },
        }.get(name)
        if fields is None:
            return None
        form = aiohttp.FormData(fields, default_to_multipart=True)
        if name != "upload_no_file":
            prefix = "mask" if name == "upload_mask" else ""
            content = b"other bytes" if name == "upload_other_bytes_same_name" else self._picture
            form.add_field("image", content, filename=f"{prefix}{self._upload}.png", content_type="image/png")
        return form

    # -- what happened around the recorded requests

    async def _post(self, color: int, *, steps: int = 4, seconds: float = 0.2, **body: Any) -> str:
        prompt = probe(color, steps=steps, seconds=seconds)
        async with self._session.post("/prompt", json={"prompt": prompt, "client_id": SUBMITTER, **body}) as response:
            prompt_id: str = (await response.json())["prompt_id"]
        posted = int(time.time() * 1000)
        while int(time.time() * 1000) == posted:
            await asyncio.sleep(0)
        return prompt_id

    async def _fill_the_queue(self, recorded: Recording) -> None:
        self._runner.pause(after=2)  # both nodes' starts: held in the first step
        running = await self._post(21, steps=10, seconds=3.0)
        await self._runner.held()
        posted = {
            22: running,
            23: await self._post(22),
            -24: await self._post(23, front=True),
            -5.0: await self._post(24, number=-5),
        }
        for number, prompt_id, *_ in recorded["json"]["queue_running"] + recorded["json"]["queue_pending"]:
            self._ids[prompt_id] = posted[number]

    def _recorded_id(self, number: int) -> str:
        """The id of a prompt that no recorded request made, from the history or the jobs."""
        uuid = "([0-9a-f-]{36})"
        text = json.dumps(self.recording)
        found = re.search(rf'\[{number}, "{uuid}"|"id": "{uuid}", "status": "cancelled", "priority": {number},', text)
        return found[1] or found[2]

    async def _first_step(self, _: Recording) -> None:
        self._runner.pause(after=1)
        await self._runner.held()

    async def _let_the_queue_run_out(self, _: Recording) -> None:
        self._runner.resume()
        await self._until_idle()

    def _run_and_wait(self, color: int, seconds: float) -> Callable[[Recording], Awaitable[None]]:
        async def act(_: Recording) -> None:
            self._runner.pause(after=3)
            running = await self._post(color, steps=10, seconds=seconds)
            self._ids[self._recorded_id(25)] = running
            await self._runner.held()
            await self._post(color + 1)

        return act

    async def _run_and_wait_for_cancel(self, recorded: Recording) -> None:
        self._runner.pause(after=3)
        running = await self._post(33, steps=10, seconds=2.0)
        await self._runner.held()
        pending = await self._post(34)
        self._ids[_job_in_path(recorded)] = pending
        self._ids[_job_in_path(self.recording["job_cancel_running"])] = running

    async def _wait_for_the_interrupt(self, _: Recording) -> None:
        self._runner.resume()
        await self._until_idle()
        await self._frames()

    async def _hello(self) -> Recording:
        await self._submitter.send_json({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
        submitter = [await self._submitter.receive() for _ in range(2)]
        anonymous = [await self._bystander.receive()]
        return {"submitter": [_frame(message) for message in submitter], "anonymous": [_frame(anonymous[0])]}

    async def _reconnect(self) -> Recording:
        self._runner.pause(after=4)  # two starts and two steps: held in the third
        recorded = self.recording["ws_reconnect_same_client_id_while_running"]["first_socket"]
        start = next(each["text"] for each in recorded if each.get("text", {}).get("type") == "execution_start")
        self._ids[start["data"]["prompt_id"]] = await self._post(41, steps=10, seconds=2.0)
        await self._runner.held()
        first, _ = await self._frames()
        second_socket = await self._session.ws_connect("/ws", params={"clientId": SUBMITTER})
        hello = [_frame(await second_socket.receive()) for _ in range(2)]
        self._runner.resume()
        await self._until_idle()
        second = hello + await self._until_marker(second_socket)
        self._runner.drop_websockets()
        assert (await self._submitter.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
        return {"first_socket": first, "second_socket": second}

    # -- frames

    async def _until_idle(self) -> None:
        await self._runner.idle()

    async def _frames(self) -> tuple[list[Recording], list[Recording]]:
        """What both sockets got since the last time."""
        self._runner.state.sockets.send(MARKER, {})
        return await self._until_marker(self._submitter, send=False), await self._until_marker(
            self._bystander, send=False
        )

    async def _until_marker(self, socket: aiohttp.ClientWebSocketResponse, *, send: bool = True) -> list[Recording]:
        if send:
            self._runner.state.sockets.send(MARKER, {})
        got = []
        while True:
            frame = _frame(await socket.receive())
            if frame.get("text", {}).get("type") == MARKER:
                return got
            got.append(frame)

    # -- words for both sides

    def _mapped(self, value: Any) -> Any:
        """A recorded value with the runner's own ids."""
        text = json.dumps(value)
        for recorded, actual in self._ids.items():
            text = text.replace(recorded, actual)
        return json.loads(text)

    def _told(self, side: Recording) -> Any:
        told = {key: value for key, value in side.items() if key not in ("request", "ids")}
        return _normal(self._mapped(told), str(self._runner.folders.base))


def _job_in_path(recorded: Recording) -> str:
    return recorded["request"]["path"].split("/")[3]


def _body(headers: dict[str, str], body: bytes, recorded: Recording) -> Recording:
    """The body in the form that the recording has."""
    if "json" in recorded and "json" in headers.get("Content-Type", ""):
        return {"json": json.loads(body)}
    if "body_base64" in recorded:
        return {"body_len": len(body), "body_base64": base64.b64encode(body).decode()}
    return {"body_len": len(body), "text": body.decode(errors="replace")}


def _frame(message: aiohttp.WSMessage) -> Recording:
    if message.type is aiohttp.WSMsgType.TEXT:
        return {"text": json.loads(message.data)}
    assert message.type is aiohttp.WSMsgType.BINARY, message
    return {"binary_len": len(message.data), "head_ascii": message.data[:400].decode("latin-1")}


def _normal(value: Any, base: str, key: str = "") -> Any:
    """A value without what differs between two servers of one version: times, machines, random letters, tracebacks."""
    if key in TIMES:
        return f"<{type(value).__name__}>"
    if key in MACHINE:
        return f"<{key}>"
    if key == "traceback":
        return "<traceback>"
    if key == "current_outputs":  # the order of a set
        return sorted(value)
    if key == "headers":
        return _normal_headers(value)
    if key == "argv":
        return [item for item in _normal_items(value, base) if not item.isdigit()]
    if isinstance(value, dict):
        if "head_ascii" in value:
            return _normal_binary(value)
        return {name: _normal(item, base, name) for name, item in value.items() if name != "t" or "m" in value}
    if isinstance(value, list):
        return _normal_items(value, base)
    if isinstance(value, str):
        return _normal_text(value, base)
    return value


def _normal_items(items: list[Any], base: str) -> list[Any]:
    return [_normal(item, base) for item in items]


def _normal_text(text: str, base: str) -> str:
    text = text.replace(base, "{base}")
    text = re.sub(r"^tensor\(.*\)$", "<tensor>", text, flags=re.DOTALL)
    text = re.sub(r"ComfyUI_temp_[a-z]{5}_", "ComfyUI_temp_?????_", text)
    text = re.sub(r"Prompt executed in [\d.]+ seconds", "Prompt executed in ? seconds", text)
    text = re.sub(r"^bob_[0-9a-f-]{36}$", "bob_<uuid>", text)
    return re.sub(r"^[0-9a-f]{32}$", "<sid>", text)


def _normal_headers(headers: dict[str, str]) -> dict[str, str]:
    """Lengths of JSON texts differ by their blanks; of an ETag only the size is the same."""
    normal = {name: text for name, text in headers.items() if name not in IGNORED_HEADERS}
    if "json; charset" in normal.get("Content-Type", ""):
        normal.pop("Content-Length", None)
    if "Etag" in normal:
        normal["Etag"] = re.sub(r'"[0-9a-f]+-', '"<mtime>-', normal["Etag"])
    if "Last-Modified" in normal:
        normal["Last-Modified"] = "<date>"
    return normal


def _normal_binary(frame: Recording) -> Recording:
    """Kind, metadata and size to a few hundred bytes of the picture; encoders differ in the rest."""
    head = frame["head_ascii"].encode("latin-1") if frame["head_ascii"] else bytes.fromhex(frame["head_hex"])
    event = frames.event_of(head)
    if event == frames.BinaryEvent.PREVIEW_IMAGE:
        return {"event": event, "format": int.from_bytes(head[4:8]), "size": round((frame["binary_len"] - 8) / 500)}
    length = int.from_bytes(head[4:8])
    metadata = json.loads(head[8 : 8 + length])
    return {"event": event, "metadata": metadata, "size": round((frame["binary_len"] - 8 - length) / 500)}


def load(version: str) -> Recording:
    """A recording from the tests' data."""
    return json.loads((RECORDINGS / f"comfyui-{version}.json").read_text())


@pytest.fixture
def recorded() -> Callable[[str], Recording]:
    """Gives the recording of a version."""
    return load


@pytest.fixture(params=["0.33.0", "0.3.64"])
async def replay(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Replay]:
    """A replay of a version's recording against a runner of that version."""
    options = SimulatorOptions(name="cpu", version=request.param, base_dir=tmp_path, checkpoints=(), speed=SPEED)
    async with Simulator(options) as runner, aiohttp.ClientSession(runner.url) as session:
        play = Replay(runner, session, load(request.param))
        await play.open()
        yield play


@pytest.fixture
async def make_runner(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Simulator]]]:
    """Starts runners with the options given; they stop at the end of the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(**options: Any) -> Simulator:
            name = options.setdefault("name", "gpu-0")
            options.setdefault("base_dir", tmp_path / name)
            options.setdefault("preview_size", 16)
            return await stack.enter_async_context(Simulator(SimulatorOptions(**options)))

        yield make


@pytest.fixture
async def runner(make_runner: Callable[..., Awaitable[Simulator]]) -> Simulator:
    """A runner that takes no time for anything."""
    return await make_runner()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client."""
    async with aiohttp.ClientSession() as client:
        yield client
