"""Sends the scenarios of a recording to a server and tells both sides in the same words, so that they can be compared.

What a recording lacks, because it is not part of an answer, stands here: the prompts that were running in some scenes,
the files that were uploaded, headers and bodies of requests that are no JSON.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from support.servers import MARKER, Server
from support.wording import frame_of, normal

RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"
SPEED = 60.0  # the recorded jobs take 0.1 to 3 seconds

SUBMITTER = "11111111-2222-4333-8444-555555555555"
OTHER_SITE = {"Origin": "http://elsewhere.example"}

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
    """One recording against one server; scenarios go in the recording's order, because they build on each other."""

    def __init__(self, server: Server, session: aiohttp.ClientSession) -> None:
        self._server = server
        self._runner = server.simulators[0]
        self._session = session
        self.version = self._runner.options.version
        self.recording = recording = load(self.version)
        self._etag = ""  # of the last file that was sent
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
        self._submitter = await self._session.ws_connect("/ws", params={"clientId": SUBMITTER}, autoping=False)
        self._bystander = await self._session.ws_connect("/ws")

    async def scenario(self, name: str) -> tuple[Any, Any]:
        """What the recording says and what the server does, in comparable words."""
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

    async def count_on(self) -> None:
        """Posts a prompt that every server refuses: its number is used up."""
        async with self._session.post("/prompt", json={"prompt": {}}) as response:
            assert response.status == 400

    # -- requests

    async def _request(self, name: str, recorded: Recording) -> Recording:
        request = recorded["request"]
        headers, data = self._unrecorded(name)
        options: dict[str, Any] = {"headers": headers, "data": data}
        if "json" in request:
            options = {"headers": headers, "json": self._mapped(request["json"])}
        url = URL(self._server.base + self._mapped(request["path"]), encoded=True)
        async with self._session.request(request["method"], url, **options) as response:
            body = await response.read()
            answer: Recording = {"request": request, "status": response.status}
            answer["headers"] = {key: response.headers[key] for key in response.headers}
            self._etag = response.headers.get("ETag", self._etag)
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
            return {"If-None-Match": self._etag}, None
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
        return {"submitter": [frame_of(message) for message in submitter], "anonymous": [frame_of(anonymous[0])]}

    async def _reconnect(self) -> Recording:
        self._runner.pause(after=4)  # two starts and two steps: held in the third
        recorded = self.recording["ws_reconnect_same_client_id_while_running"]["first_socket"]
        start = next(each["text"] for each in recorded if each.get("text", {}).get("type") == "execution_start")
        self._ids[start["data"]["prompt_id"]] = await self._post(41, steps=10, seconds=2.0)
        await self._runner.held()
        first, _ = await self._frames()
        second_socket = await self._session.ws_connect("/ws", params={"clientId": SUBMITTER})
        hello = [frame_of(await second_socket.receive()) for _ in range(2)]
        self._runner.resume()
        await self._until_idle()
        second = hello + await self._until_marker(second_socket)
        return {"first_socket": first + await self._until_pong(self._submitter), "second_socket": second}

    # -- frames

    async def _until_idle(self) -> None:
        await self._server.idle()

    async def _frames(self) -> tuple[list[Recording], list[Recording]]:
        """What both sockets got since the last time."""
        await self._server.mark()
        return await self._until_marker(self._submitter, send=False), await self._until_marker(
            self._bystander, send=False
        )

    async def _until_marker(self, socket: aiohttp.ClientWebSocketResponse, *, send: bool = True) -> list[Recording]:
        if send:
            await self._server.mark()
        got = []
        while True:
            frame = frame_of(await socket.receive())
            if frame.get("text", {}).get("type") == MARKER:
                return got
            got.append(frame)

    @staticmethod
    async def _until_pong(socket: aiohttp.ClientWebSocketResponse) -> list[Recording]:
        await socket.ping()
        got = []
        while (message := await socket.receive()).type is not aiohttp.WSMsgType.PONG:
            got.append(frame_of(message))
        return got

    # -- words for both sides

    def _mapped(self, value: Any) -> Any:
        """A recorded value with the runner's own ids."""
        text = json.dumps(value)
        for recorded, actual in self._ids.items():
            text = text.replace(recorded, actual)
        return json.loads(text)

    def _told(self, side: Recording) -> Any:
        told = {key: value for key, value in side.items() if key not in ("request", "ids")}
        return normal(self._mapped(told), str(self._runner.folders.base))


def _job_in_path(recorded: Recording) -> str:
    return recorded["request"]["path"].split("/")[3]


def _body(headers: dict[str, str], body: bytes, recorded: Recording) -> Recording:
    """The body in the form that the recording has."""
    if "json" in recorded and "json" in headers.get("Content-Type", ""):
        return {"json": json.loads(body)}
    if "body_base64" in recorded:
        return {"body_len": len(body), "body_base64": base64.b64encode(body).decode()}
    return {"body_len": len(body), "text": body.decode(errors="replace")}


def load(version: str) -> Recording:
    """A recording from the tests' data."""
    return json.loads((RECORDINGS / f"comfyui-{version}.json").read_text())
