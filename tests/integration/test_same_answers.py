"""The gateway over one runner answers as that runner does: one line for each request, asked of both."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from support.nodes import ROUTES
from support.pools import running_pool
from yarl import URL

NEW, OLD = "0.33.0", "0.3.64"
MOST_BYTES = 20_000  # of a request's body, here
HEADERS = ("Content-Type", "Allow", "Cache-Control", "Pragma", "Expires", "Location")
ELSEWHERE = {"Origin": "http://elsewhere.example"}
CROSS_SITE = {"Sec-Fetch-Site": "cross-site"}
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


@dataclass(frozen=True)
class Case:
    """One request. ``body`` is sent as it is if it is bytes, else as JSON; ``versions`` are the runners it is for."""

    method: str
    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    versions: tuple[str, ...] = (NEW, OLD)

    def __str__(self) -> str:
        body = b"" if self.body is None else self.body if isinstance(self.body, bytes) else json.dumps(self.body)
        return " ".join(filter(None, [self.method, self.path, str(body[:30]) if body else "", *self.headers.values()]))


C = Case
CASES = [
    # the queue
    C("GET", "/prompt"),
    C("GET", "/api/prompt"),
    C("HEAD", "/prompt"),
    C("PUT", "/prompt"),
    C("DELETE", "/api/prompt"),
    C("PATCH", "/prompt"),
    C("POST", "/prompt", {}),
    C("POST", "/prompt", []),
    C("POST", "/prompt", b"no JSON"),
    C("POST", "/prompt"),
    C("POST", "/prompt", {"prompt": {}}),
    C("POST", "/prompt", {"prompt": {"1": {"class_type": "NoSuchNode", "inputs": {}}}}),
    C("POST", "/prompt", {"prompt": {"1": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}}}}),
    C("POST", "/prompt", b" " * (MOST_BYTES + 1)),
    C("GET", "/queue"),
    C("HEAD", "/api/queue"),
    C("PUT", "/queue"),
    C("POST", "/queue"),
    C("POST", "/queue", {"clear": True}),
    C("POST", "/queue", {"delete": ["unknown"]}),
    C("POST", "/queue", b" " * (MOST_BYTES + 1)),
    C("GET", "/interrupt"),
    C("PUT", "/interrupt"),
    C("POST", "/interrupt"),
    C("POST", "/interrupt", {"prompt_id": "unknown"}),
    C("POST", "/interrupt", []),
    C("GET", "/free"),
    C("POST", "/free"),
    C("POST", "/free", {}),
    C("POST", "/api/free", {"unload_models": True}),
    # what has ended
    C("GET", "/history"),
    C("GET", "/history?max_items=0"),
    C("GET", "/history?max_items=abc"),
    C("GET", "/api/history/unknown"),
    C("POST", "/history", {"clear": True}),
    C("POST", "/history", b"{"),
    C("POST", "/history/unknown", {}),
    C("GET", "/api/jobs", versions=(NEW,)),
    C("GET", "/api/jobs?limit=0", versions=(NEW,)),
    C("GET", "/api/jobs?status=bogus", versions=(NEW,)),
    C("GET", "/api/jobs/unknown", versions=(NEW,)),
    C("GET", "/jobs"),
    C("PUT", "/api/jobs"),
    C("POST", "/api/jobs/unknown/cancel", versions=(NEW,)),
    C("POST", "/api/jobs/cancel", b"{", versions=(NEW,)),
    C("POST", "/api/jobs/cancel", {"job_ids": ["x"]}, versions=(NEW,)),
    # the catalogue
    C("GET", "/object_info"),
    C("GET", "/object_info/KSampler"),
    C("HEAD", "/object_info/KSampler"),
    C("GET", "/api/object_info/NoSuchNode"),
    C("POST", "/object_info"),
    C("GET", "/object_info/"),
    C("GET", "/system_stats"),
    C("GET", "/features"),
    C("GET", "/embeddings"),
    C("HEAD", "/embeddings"),
    C("GET", "/models"),
    C("GET", "/api/models/checkpoints"),
    C("GET", "/models/nope"),
    C("DELETE", "/models/checkpoints"),
    C("GET", "/experiment/models"),
    C("GET", "/api/experiment/models/checkpoints"),
    C("GET", "/experiment/models/nope"),
    C("GET", "/experiment/models/preview/checkpoints/0/none.safetensors"),
    C("GET", "/experiment/models/preview/checkpoints/0/none.png"),
    C("GET", "/extensions"),
    C("HEAD", "/api/extensions"),
    C("GET", "/extensions/no-such-node/x.js"),
    C("GET", "/i18n"),
    C("GET", "/workflow_templates"),
    C("GET", "/api/workflow_templates/no-such-node/x.json"),
    C("GET", "/global_subgraphs"),
    C("GET", "/global_subgraphs/unknown"),
    C("GET", "/node_replacements"),
    C("GET", "/api/assets"),
    C("GET", "/api/assets/00000000-0000-4000-8000-000000000000", versions=(NEW,)),
    C("GET", "/api/tags", versions=(NEW,)),
    C("GET", "/tags"),
    # files
    C("GET", "/view"),
    C("GET", "/view?filename="),
    C("GET", "/view?filename=missing.png"),
    C("HEAD", "/view?filename=missing.png"),
    C("GET", "/view?filename=../x.png"),
    C("GET", "/api/view?filename=x.png&type=bogus"),
    C("PUT", "/view"),
    C("POST", "/upload/image", {}),
    C("GET", "/upload/image"),
    # the log
    C("GET", "/internal/logs"),
    C("HEAD", "/internal/logs"),
    C("GET", "/internal/logs/raw"),
    C("PUT", "/internal/logs"),
    C("GET", "/internal/logs/subscribe"),
    C("PATCH", "/internal/logs/subscribe", {"clientId": "unknown", "enabled": True}),
    C("PATCH", "/internal/logs/subscribe", {"clientId": "unknown"}),
    C("PATCH", "/internal/logs/subscribe"),
    C("GET", "/internal/folder_paths"),
    C("GET", "/internal/no/such"),
    C("GET", "/api/internal/logs"),
    # the frontend
    C("GET", "/"),
    C("HEAD", "/"),
    C("GET", "/index.html"),
    C("GET", "/scripts/app.js"),
    C("HEAD", "/scripts/app.js"),
    C("GET", "/user.css"),
    C("GET", "/missing.png"),
    C("GET", "/assets/missing.js"),
    C("POST", "/"),
    # unknown paths
    C("GET", "/no/such/path"),
    C("HEAD", "/no/such/path"),
    C("GET", "/api/no/such"),
    C("POST", "/no/such", {}),
    C("PUT", "/api/no/such"),
    C("DELETE", "/no/such"),
    C("PATCH", "/no/such"),
    C("OPTIONS", "/prompt"),
    C("OPTIONS", "/no/such"),
    C("OPTIONS", "/missing.js"),
    # custom nodes
    C("GET", "/tn/echo?x=1%2F2&y=a+b&z=%5Boutput%5D"),
    C("GET", "/api/tn/echo/a%2Fb/%C3%A4", headers={"Accept-Language": "de"}),
    C("POST", "/tn/echo", {"a": 1}),
    C("PUT", "/tn/echo", b"bytes", headers={"Content-Type": "text/x-thing"}),
    C("PATCH", "/api/tn/echo", b""),
    C("DELETE", "/tn/echo"),
    C("HEAD", "/tn/echo"),
    C("POST", "/tn/echo", b" " * (MOST_BYTES + 1)),
    C("POST", "/tn/many"),
    # the websocket
    C("GET", "/ws"),
    C("GET", "/api/ws?clientId=x"),
    C("POST", "/ws"),
    C("GET", "/ws", headers=UPGRADE | ELSEWHERE),
    C("GET", "/tn/chat", headers=UPGRADE | ELSEWHERE),
    # other sites
    C("GET", "/prompt", headers=ELSEWHERE),
    C("OPTIONS", "/prompt", headers=ELSEWHERE),
    C("POST", "/no/such", headers=ELSEWHERE),
    C("GET", "/prompt", headers={"Origin": "http://localhost"}),
    C("GET", "/prompt", headers={"Origin": "http://127.0.0.1"}),
    C("GET", "/prompt", headers={"Origin": "null"}),
    C("GET", "/prompt", headers=CROSS_SITE),
    C("GET", "/", headers=CROSS_SITE | {"Sec-Fetch-Mode": "no-cors"}),
    C("GET", "/", headers=CROSS_SITE | {"Sec-Fetch-Mode": "navigate"}),
]

INTENDED = {  # request, and for which runners: why the gateway answers otherwise. docs/differences.md tells the same.
    ("GET /system_stats", (NEW, OLD)): "devices carry their runner's name; a pool has many",
    ("GET /features", (NEW, OLD)): "flags are what every runner can, without assets and the Manager",
    ("GET /global_subgraphs", (OLD,)): "an empty list, so that newer frontends work with old runners",
    ("GET /global_subgraphs/unknown", (OLD,)): "an empty list, so that newer frontends work with old runners",
    ("GET /node_replacements", (OLD,)): "an empty list, so that newer frontends work with old runners",
    ("GET /api/assets", (OLD,)): "off, as newer servers say it; old ones do not know it",
    ("GET /", (OLD,)): "the page is never kept, as of newer servers",
    ("HEAD /", (OLD,)): "the page is never kept, as of newer servers",
    ("GET /scripts/app.js", (NEW,)): "browsers may keep scripts and ask whether they are current",
    ("HEAD /scripts/app.js", (NEW,)): "browsers may keep scripts and ask whether they are current",
    ("OPTIONS /missing.js", (NEW,)): "browsers may keep scripts and ask whether they are current",
    ("GET /prompt cross-site", (OLD,)): "nothing cross-site passes, as of newer servers",
    ("GET / cross-site no-cors", (OLD,)): "nothing cross-site passes, as of newer servers",
    ("GET / cross-site navigate", (NEW,)): "following a link to the page is no harm",
    ("GET / cross-site navigate", (OLD,)): "the page is never kept, as of newer servers",
    ('POST /api/jobs/cancel {"job_ids": ["x"]}', (NEW,)): "a job's id may be any that its client chose",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[NEW, OLD])
async def pair(request, tmp_path_factory) -> AsyncIterator[tuple[str, str, str]]:
    """A runner's version, its URL, and that of a gateway over it."""
    options = {"version": request.param, "max_upload_size": MOST_BYTES, "extra_routes": ROUTES}
    config = {"server": {"port": 0, "max_upload_size": MOST_BYTES}}
    folder = tmp_path_factory.mktemp("gateway")
    async with running_pool(folder, 1, options=[options], config=config) as pool:
        yield request.param, pool.simulators[0].url, pool.base


async def ask(base: str, case: Case) -> dict[str, Any]:
    """What of an answer matters."""
    body = case.body if isinstance(case.body, bytes | None) else json.dumps(case.body).encode()
    headers = {"Content-Type": "application/json", **case.headers} if body else case.headers
    url = URL(base + case.path, encoded=True)
    async with (
        aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as http,
        http.request(case.method, url, data=body or None, headers=headers, allow_redirects=False) as answer,
    ):
        text = (await answer.read()).decode(errors="replace")
        is_json = answer.content_type == "application/json" and text
        told = {name: answer.headers.get(name) for name in HEADERS}
        return {"status": answer.status, "body": json.loads(text) if is_json else text, **told}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", CASES, ids=str)
async def test_answers_as_the_runner_does(pair, case):
    version, runner, gateway = pair
    if version not in case.versions:
        pytest.skip("not known to this version")
    theirs, ours = await ask(runner, case), await ask(gateway, case)
    reason = next((why for (name, versions), why in INTENDED.items() if name == str(case) and version in versions), "")
    if reason:
        assert ours != theirs, f"no longer differs: {reason}"
    else:
        assert ours == theirs


def test_every_intended_difference_is_a_case_and_documented():
    page = (Path(__file__).parents[2] / "docs" / "differences.md").read_text()
    for (name, _), reason in INTENDED.items():
        assert name in set(map(str, CASES)), name
        assert reason in page, reason
