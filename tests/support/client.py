"""A client as ComfyUI's websocket example is one: connect, post, wait for the end, read the history, fetch files."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import aiohttp

PATIENCE_SECONDS = 20.0


class Client:
    """One client with its websocket. ``heard`` has every frame so far: parsed messages, and binary frames as bytes."""

    def __init__(self, base: str, http: aiohttp.ClientSession, sid: str) -> None:
        self.base = base
        self.http = http
        self.sid = sid
        self.heard: list[dict[str, Any] | bytes] = []
        self.socket: aiohttp.ClientWebSocketResponse

    @classmethod
    @asynccontextmanager
    async def connected(
        cls,
        base: str,
        *,
        sid: str | None = None,
        flags: dict[str, Any] | None = None,
        mode: str | None = None,
        token: str | None = None,
    ) -> AsyncIterator[Self]:
        """A client whose websocket stands; ``flags`` are sent as its first frame, ``mode`` is in its query, ``token``
        comes with every request."""
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        async with aiohttp.ClientSession(headers=headers) as http:
            client = cls(base, http, sid or uuid.uuid4().hex)
            query = {"clientId": client.sid} | ({"mode": mode} if mode is not None else {})
            async with http.ws_connect(f"{base}/ws", params=query, max_msg_size=0) as socket:
                client.socket = socket
                if flags is not None:
                    await socket.send_json({"type": "feature_flags", "data": flags})
                yield client

    async def get(self, path: str, status: int = 200, **params: Any) -> Any:
        """GETs JSON."""
        async with self.http.get(self.base + path, params=params) as response:
            assert response.status == status, (response.status, await response.text())
            return await response.json(content_type=None)

    async def post(self, path: str, body: Any = None) -> tuple[int, Any]:
        """POSTs JSON; returns the status and the answer, parsed where it is JSON."""
        async with self.http.post(self.base + path, json=body) as response:
            text = await response.text()
            return response.status, json.loads(text) if response.content_type == "application/json" else text

    async def submit(self, graph: dict[str, Any], **more: Any) -> str:
        """Submits a prompt of this client; returns its id."""
        status, answer = await self.post("/prompt", {"prompt": graph, "client_id": self.sid, **more})
        assert status == 200, (status, answer)
        return str(answer["prompt_id"])

    async def hear(self) -> dict[str, Any] | bytes:
        """The next frame; fails when none comes, or the socket closes."""
        frame = await self.socket.receive(timeout=PATIENCE_SECONDS)
        assert frame.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), frame
        told = json.loads(frame.data) if frame.type is aiohttp.WSMsgType.TEXT else frame.data
        self.heard.append(told)
        return told

    async def hear_until(self, kind: str, **data: Any) -> dict[str, Any]:
        """Reads up to a message of this type with these values in its data."""
        while True:
            told = await self.hear()
            if isinstance(told, dict) and told["type"] == kind and data.items() <= told["data"].items():
                return told

    async def hear_end(self, prompt_id: str) -> None:
        """Reads up to ``executing`` with ``node: null`` of this prompt."""
        await self.hear_until("executing", node=None, prompt_id=prompt_id)

    def told(self, prompt_id: str) -> list[str]:
        """The types of the messages heard about a prompt, in order."""
        return [
            frame["type"]
            for frame in self.heard
            if isinstance(frame, dict) and frame["data"].get("prompt_id") == prompt_id
        ]

    async def history(self, prompt_id: str) -> dict[str, Any]:
        """The entry of a prompt; fails when there is none."""
        found = await self.get(f"/history/{prompt_id}")
        assert prompt_id in found, f"no history of {prompt_id}"
        entry: dict[str, Any] = found[prompt_id]
        return entry

    async def files(self, prompt_id: str) -> list[bytes]:
        """The files of all outputs, by /view."""
        entry = await self.history(prompt_id)
        items = [item for output in entry["outputs"].values() for item in output.get("images", ())]
        return [await self.view(**item) for item in items]

    async def view(self, status: int = 200, **item: str) -> bytes:
        """One file."""
        async with self.http.get(f"{self.base}/view", params=item) as response:
            assert response.status == status, (response.status, item)
            return await response.read()
