"""Calls of /v1 as a client of the hosted service sends them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aiohttp

from gateway.api.openapi import document
from gateway.api.openapi_routes import endpoints
from support.client import PATIENCE_SECONDS, Client
from support.contract import Contract
from support.graphs import save_graph
from support.pools import RunningPool, running_pool

ENDED = ("completed", "failed", "cancelled", "invalid")
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
NOWHERE = "11111111-1111-4111-8111-111111111111"
CONTRACT = Contract(document(endpoints()))  # every answer is held against it
UNLIMITED: dict[str, Any] = {"v1": {"requests": None}}
File = tuple[str, bytes]  # the sender's name, the content


def v1_pool(folder: Path, count: int = 1, **more: Any) -> AbstractAsyncContextManager[RunningPool]:
    """As ``running_pool``, without /v1's limit of requests."""
    return running_pool(folder, count, config=UNLIMITED | more.pop("config", {}), **more)


def asking_graph(**more: Any) -> dict[str, Any]:
    """A graph with a placeholder of each kind but files and choices: a text, random numbers, the time."""
    graph = save_graph(1, prefix="$text(prefix)", **more)
    graph["2"]["inputs"]["seed"] = "$random()"
    graph["4"] = {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "$timestamp()"}}
    return graph


def loading_graph(prefix: str = "loaded") -> dict[str, Any]:
    """LoadImage -> ImageInvert -> SaveImage, with the picture from the form field ``$photo``."""
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": "$file(photo)"}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": prefix}},
    }


def form_of(fields: Mapping[str, str | File]) -> aiohttp.FormData:
    """A multipart form; a value with a file name is a file field."""
    form = aiohttp.FormData(default_to_multipart=True)
    for name, value in fields.items():
        if isinstance(value, tuple):
            form.add_field(name, value[1], filename=value[0])
        else:
            form.add_field(name, value)
    return form


def workflow_fields(graph: Any, name: str = "a run", **fields: str | File) -> dict[str, str | File]:
    """The form of a new workflow; ``fields`` are named as they are sent, ``$key`` included."""
    return {"name": name, "workflow_json": ("workflow.json", json.dumps(graph).encode()), **fields}


async def call(
    client: Client,
    method: str,
    path: str,
    status: int = 200,
    *,
    fields: Mapping[str, str | File] | None = None,
    **more: Any,
) -> Any:
    """One call; fails unless it is answered with this status. Returns the JSON, or None where there is no body."""
    data = None if fields is None else form_of(fields)
    async with client.http.request(method, client.base + path, data=data, **more) as answer:
        text = await answer.text()
        CONTRACT.check(method, path.partition("?")[0], answer.status, answer.content_type, text.encode())
        assert answer.status == status, (answer.status, text)
        told = json.loads(text) if text else None
        if status >= 400:
            assert set(told) == {"status", "message"}, told
            assert told["status"] == status
        return told


async def refusal(client: Client, method: str, path: str, status: int, **more: Any) -> str:
    """The message of a call that is refused."""
    return str((await call(client, method, path, status, **more))["message"])


async def create(client: Client, graph: Any, name: str = "a run", **fields: str | File) -> str:
    """Creates a workflow; returns its id."""
    told = await call(client, "POST", "/v1/workflow", 201, fields=workflow_fields(graph, name, **fields))
    return str(told["id"])


async def seen(client: Client, workflow_id: str) -> dict[str, Any]:
    """A workflow as it stands."""
    told: dict[str, Any] = await call(client, "GET", f"/v1/workflow/{workflow_id}")
    return told


async def until(client: Client, workflow_id: str, *statuses: str) -> dict[str, Any]:
    """Asks until a workflow has one of these statuses, or else has ended; fails if that is another one."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (told := await seen(client, workflow_id))["status"] not in (*statuses, *ENDED):
            await asyncio.sleep(0.01)
    assert told["status"] in statuses, told
    return told


async def outputs_of(client: Client, workflow_id: str) -> list[bytes]:
    """The files of a completed workflow, by their signed URLs, without a token."""
    listed = await call(client, "GET", f"/v1/workflow/{workflow_id}/outputs")
    async with aiohttp.ClientSession() as nobody:
        found = []
        for output in listed:
            assert output["workflow_id"] == workflow_id
            async with nobody.get(output["src"]) as answer:
                assert answer.status == 200, await answer.text()
                found.append(await answer.read())
    return found
