"""A running gateway on anything: every answer is one that the route means to give.

A 500 is allowed where ComfyUI answers one, as its own two lines and without an exception that nobody thought of, and
where a runner gave it. After each test nothing is left over: tasks, sockets, files.
"""

import asyncio
import gc
import logging
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import schemathesis
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import RequestPayloadError
from fuzz.strategies import GRAPHS, JSON, PROMPTS, TEXT
from hypothesis import example, given
from hypothesis import strategies as st
from support.client import Client
from support.graphs import save_graph
from support.pools import running_pool
from yarl import URL

from gateway.api.openapi_routes import DOCUMENT
from gateway.comfyui import json_text

pytestmark = [pytest.mark.over_http, pytest.mark.timeout(3_600)]

ANSWER_SECONDS = 20.0
COMFYUIS_OWN = "500 Internal Server Error"
ASSETS_ARE_OFF = '{"error":{"code":"SERVICE_DISABLED"'
RUNNERS_OWN = "X-Gateway-Runner"
LEFT_OVER_MOST = 16  # tasks and files that come and go by themselves


class Stage:
    """A gateway over one runner, in a loop that runs while something is asked."""

    def __init__(self, runner: asyncio.Runner, pool: Any, http: aiohttp.ClientSession) -> None:
        self.pool = pool
        self.http = http
        self.faults: list[str] = []
        self.answered: Counter[int] = Counter()
        self._runner = runner
        runner.get_loop().set_exception_handler(lambda _, context: self.faults.append(str(context)))

    def run(self, coroutine: Any) -> Any:
        return self._runner.run(coroutine)

    def ask(self, method: str, target: str, **more: Any) -> tuple[int, str]:
        """One request; fails where its answer is none that the gateway means to give."""
        return self.run(self._ask(method, target, **more))

    async def _ask(self, method: str, target: str, **more: Any) -> tuple[int, str]:
        self.faults.clear()
        url = URL(self.pool.base + target, encoded=True)
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with self.http.request(method, url, allow_redirects=False, timeout=timeout, **more) as answer:
            streams = answer.content_type == "text/event-stream"
            text = "" if streams else (await answer.read()).decode(errors="replace")
            status, told = answer.status, answer.headers
        self.answered[status] += 1
        assert not self.faults, self.faults
        comfyuis = (500, COMFYUIS_OWN), (503, ASSETS_ARE_OFF)
        is_comfyuis = any(status == code and text.startswith(words) for code, words in comfyuis)
        assert status < 500 or RUNNERS_OWN in told or is_comfyuis, (status, text)
        return status, text


class Noted(logging.Handler):
    """What aiohttp and asyncio complain of: exceptions that no handler expected."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(logging.ERROR)
        self._stage = stage

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        # A body that nobody read, and that is none: the connection is closed.
        is_unread = record.getMessage() == "Unhandled exception" and isinstance(error, RequestPayloadError)
        if error is not None and not is_unread and not isinstance(error, HttpProcessingError):
            self._stage.faults.append(logging.Formatter().format(record))


async def _session(stack: AsyncExitStack) -> aiohttp.ClientSession:
    return await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        config = {"server": {"port": 0, "max_upload_size": 1_000_000}, "health": {"interval_seconds": 1}}
        pool = runner.run(stack.enter_async_context(running_pool(tmp_path_factory.mktemp("fuzz"), 1, config=config)))
        http = runner.run(_session(stack))
        made = Stage(runner, pool, http)
        noted = Noted(made)
        for name in ("aiohttp.server", "asyncio"):
            logging.getLogger(name).addHandler(noted)
        yield made
        for name in ("aiohttp.server", "asyncio"):
            logging.getLogger(name).removeHandler(noted)
        runner.run(stack.aclose())
        print(f"\nanswered over HTTP: {dict(sorted(made.answered.items()))}")  # noqa: T201  what make fuzz tells


@pytest.fixture(autouse=True)
def nothing_is_left_over(stage):
    before = stage.run(_held())
    yield
    stage.run(_settled(stage, before))
    assert not stage.faults


async def _held() -> tuple[int, int]:
    gc.collect()
    return len(asyncio.all_tasks()), len(list(Path("/proc/self/fd").iterdir()))


async def _settled(stage: Stage, before: tuple[int, int]) -> None:
    """The queue is emptied, and what was held for requests is given back."""
    await stage._ask("POST", "/queue", json={"clear": True})
    async with asyncio.timeout(60):
        while True:
            held = await _held()
            if all(now <= then + LEFT_OVER_MOST for now, then in zip(held, before, strict=True)):
                break
            await asyncio.sleep(0.1)
    async with Client.connected(stage.pool.base) as client:
        job = await client.submit(save_graph(1))
        await client.hear_end(job)


def segment(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


PATHS = st.sampled_from(
    [
        *(
            "/prompt",
            "/queue",
            "/history",
            "/history/{}",
            "/interrupt",
            "/free",
            "/view",
            "/upload/image",
            "/upload/mask",
        ),
        *("/users", "/settings", "/settings/{}", "/userdata", "/userdata/{}", "/userdata/{}/move/{}", "/v2/userdata"),
        *("/object_info", "/object_info/{}", "/system_stats", "/features", "/models", "/models/{}", "/embeddings"),
        *("/experiment/models/{}", "/experiment/models/preview/{}/{}/{}", "/view_metadata/{}", "/extensions", "/i18n"),
        *("/extensions/{}/{}", "/api/workflow_templates/{}/{}", "/global_subgraphs", "/global_subgraphs/{}"),
        *("/api/jobs", "/api/jobs/{}", "/api/jobs/{}/cancel", "/api/jobs/cancel", "/api/assets", "/api/assets/{}"),
        *(
            "/internal/logs",
            "/internal/logs/raw",
            "/internal/logs/subscribe",
            "/internal/files/{}",
            "/ws",
            "/{}",
            "/{}/{}",
        ),
        *("/gateway/health", "/gateway/{}", "/gateway/api/jobs/{}", "/gateway/api/runners", "/gateway/login", "/"),
        *("/gateway/api/tokens", "/gateway/api/tokens/{}", "/v1/{}", "/v1/workflow/{}", "/v1/template/{}"),
    ]
)
KEYS = st.sampled_from(
    [
        *("filename", "type", "subfolder", "preview", "channel", "max_items", "offset", "limit", "status", "sort_by"),
        *("sort_order", "workflow_id", "dir", "recurse", "split", "full_info", "path", "overwrite", "clientId", "mode"),
        *("token", "next", "a"),
    ]
)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            *(
                "Range",
                "If-Range",
                "If-None-Match",
                "If-Modified-Since",
                "If-Match",
                "Origin",
                "Sec-Fetch-Site",
                "Cookie",
            ),
            *(
                "Accept",
                "Accept-Encoding",
                "Content-Type",
                "Content-Encoding",
                "Authorization",
                "X-API-Key",
                "Comfy-User",
            ),
            *(
                "X-Forwarded-For",
                "X-Forwarded-Host",
                "Upgrade",
                "Idempotency-Key",
                "Comfy-Usage-Source",
                "Sec-Fetch-Dest",
            ),
        ]
    ),
    st.one_of(
        st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
        st.sampled_from(["bytes=0-", "bytes=-0", "bytes=5-1", "bytes=9999999999999999999-", "*", '"a"', "W/", "gzip"]),
        st.sampled_from(
            ["websocket", "application/json", "multipart/form-data", "text/html", "null", "a=b; c", "Basic x"]
        ),
    ),
    max_size=3,
)
METHODS = st.sampled_from(["GET", "GET", "POST", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
BODIES = st.one_of(
    st.none(),
    st.binary(max_size=200),
    TEXT.map(lambda text: text.encode("utf-8", "replace")),
    JSON.map(json_text.dumps),
)
QUERIES = st.lists(st.tuples(KEYS, st.one_of(TEXT, st.integers().map(str))), max_size=4)


@given(METHODS, PATHS, st.lists(TEXT, min_size=3, max_size=3), QUERIES, HEADERS, BODIES)
@example("GET", "/{}", ["a" * 300, "", ""], [], {}, None)
@example("GET", "/{}", ["\0", "", ""], [], {}, None)
def test_any_request(stage, method, path, names, query, headers, body):
    target = path.format(*(segment(name) for name in names))
    asked = "&".join(f"{key}={segment(value)}" for key, value in query)
    status, _ = stage.ask(method, f"{target}?{asked}" if asked else target, headers=headers, data=body)
    assert status != 501


@given(PROMPTS)
@example({"prompt": save_graph(1), "client_id": "\ud800"})
@example({"prompt": save_graph(1), "prompt_id": "\ud800"})
@example({"prompt": save_graph(1), "prompt_id": "\0"})
@example({"prompt": save_graph(1), "number": 10**400})
@example({"prompt": {"1": {"class_type": "\ud800", "inputs": {}}}})
@example({"prompt": save_graph(1), "extra_data": {"extra_pnginfo": {"workflow": {"id": {}}}}})
@example({"prompt": save_graph(1), "extra_data": {"extra_pnginfo": {"workflow": {"id": 10**400}}}})
def test_any_prompt(stage, body):
    stage.ask("POST", "/prompt", data=json_text.dumps(body))


@given(GRAPHS, st.sampled_from(["client_id", "partial_execution_targets", "extra_data", "front"]), JSON)
def test_any_graph(stage, graph, key, value):
    stage.ask("POST", "/prompt", data=json_text.dumps({"prompt": graph, key: value}))


PARTS = st.lists(
    st.tuples(
        st.one_of(st.sampled_from(["image", "type", "subfolder", "overwrite", "original_ref", "_charset_"]), TEXT),
        st.one_of(st.none(), TEXT, st.sampled_from(["a.png", "../a.png"])),
        st.sampled_from(
            ["", "Content-Type: image/png", "Content-Encoding: gzip", "Content-Transfer-Encoding: base64", "x"]
        ),
        st.binary(max_size=60),
    ),
    max_size=4,
)


@given(
    PARTS,
    st.sampled_from(["/upload/image", "/upload/mask"]),
    st.sampled_from(["\r\n", "\r\n", "\n"]),
    st.integers(0, 40),
)
@example([("image", 'a"; filename="b', "", b"")], "/upload/image", "\r\n", 0)
def test_any_form(stage, parts, path, line, cut):
    body = b""
    for name, filename, header, data in parts:
        named = f'; filename="{filename}"' if filename is not None else ""
        lines = [
            f'--x{line}Content-Disposition: form-data; name="{name}"{named}',
            *([header] if header else []),
            "",
            "",
        ]
        body += line.join(lines).encode("utf-8", "surrogatepass") + data + line.encode()
    body += f"--x--{line}".encode()
    content_type = {"Content-Type": "multipart/form-data; boundary=x"}
    stage.ask("POST", path, data=body[: len(body) - cut], headers=content_type)


FIRST_FRAMES = st.lists(st.one_of(TEXT, JSON.map(json_text.dumps), st.binary(max_size=40)), max_size=4)


@given(FIRST_FRAMES, TEXT, st.sampled_from(["raw", "focus", "serial", "auto", "x"]))
def test_any_websocket(stage, frames, client_id, mode):
    async def talk():
        url = URL(f"{stage.pool.base}/ws?clientId={segment(client_id)}&mode={mode}", encoded=True)
        async with stage.http.ws_connect(url) as socket:
            for frame in frames:
                if isinstance(frame, bytes):
                    await socket.send_bytes(frame)
                else:
                    await socket.send_bytes(frame.encode("utf-8", "replace"))
                    await socket.send_str(frame.encode("utf-8", "replace").decode())
            await socket.receive(timeout=ANSWER_SECONDS)

    stage.faults.clear()
    stage.run(talk())
    assert not stage.faults


@pytest.fixture(scope="module")
def described(stage):
    """The operations of the gateway's own API, by its OpenAPI document."""
    _, text = stage.ask("GET", DOCUMENT)
    schema = schemathesis.openapi.from_dict(json_text.loads(text))
    return [found.ok() for found in schema.get_all_operations()]


@given(st.data())
def test_what_the_document_describes(stage, described, data):
    operation = data.draw(st.sampled_from(described))
    case = data.draw(operation.as_strategy())
    sent = case.as_transport_kwargs(base_url="http://gateway")
    target = sent["url"].removeprefix("http://gateway")
    query = sent.get("params") or {}
    asked = "&".join(f"{segment(str(key))}={segment(str(value))}" for key, value in query.items())
    headers = {name: value for name, value in (sent.get("headers") or {}).items() if value.isprintable()}
    body = sent.get("data") if "json" not in sent else json_text.dumps(sent["json"])
    body = body if isinstance(body, str | bytes) else None
    stage.ask(sent["method"], f"{target}?{asked}" if asked else target, headers=headers, data=body)
