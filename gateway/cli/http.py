"""Asking a running gateway over HTTP, for the commands that do: where it is, who asks, and what its refusals mean."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import quote

import typer

from gateway.cli.common import fail

if TYPE_CHECKING:
    import aiohttp

ANSWER_SECONDS = 30.0
HEARTBEAT_SECONDS = 20.0
CHUNK_BYTES = 256 * 1024
DEFAULT_URL = "http://127.0.0.1:8188"

Result = TypeVar("Result")

UrlOption = Annotated[
    str, typer.Option("--url", envvar="COMFY_GATEWAY_URL", metavar="URL", help="The gateway, with its path prefix.")
]
TokenOption = Annotated[
    str | None, typer.Option("--token", envvar="COMFY_GATEWAY_TOKEN", metavar="TOKEN", help="Where it asks for one.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


class NotDone(Exception):
    """The gateway refused, or cannot be asked; the message is one line that says why."""


class GatewayClient:
    """Asks one gateway."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url.rstrip("/")
        self._http = http

    async def ask(self, method: str, path: str, *, body: Any = None, **params: Any) -> Any:
        """The JSON of the answer, None where it has no body. Raises NotDone: it is a refusal."""
        status, told = await self.reply(method, path, body=body, **params)
        if status >= 300:
            raise NotDone(_refusal(status, told))
        return told

    async def reply(self, method: str, path: str, *, body: Any = None, **params: Any) -> tuple[int, Any]:
        """The status of the answer and its JSON, None where it has no body. Raises NotDone: there is no such answer."""
        from aiohttp import ClientError

        given = {name: str(value) for name, value in params.items() if value is not None}
        try:
            async with self._http.request(method, self.url + path, json=body, params=given) as answer:
                is_json = answer.content_type == "application/json"
                told = await answer.json() if is_json and answer.content_length != 0 else None
        except (ClientError, TimeoutError, ValueError) as error:
            raise NotDone(f"{self.url} cannot be asked: {error or type(error).__name__}") from error
        if told is None and answer.status < 300 and answer.content_length != 0:
            raise NotDone(f"{self.url} answers, but not as a comfy-gateway does")
        return answer.status, told

    async def download(self, path: str, file: Path, **params: str) -> None:
        """Writes an answer's body to a new file. Raises NotDone, OSError; nothing is left then."""
        from aiohttp import ClientError, ClientTimeout

        timeout = ClientTimeout(total=None, sock_read=ANSWER_SECONDS)
        try:
            async with self._http.get(self.url + path, params=params, timeout=timeout) as answer:
                if answer.status != 200:
                    raise NotDone(f"{file.name} cannot be had: the gateway answered {answer.status}")
                with file.open("xb") as open_file:
                    async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                        open_file.write(chunk)
        except (ClientError, TimeoutError) as error:
            await asyncio.to_thread(file.unlink, missing_ok=True)
            raise NotDone(f"{file.name} cannot be had: {error or type(error).__name__}") from error

    def socket(self, path: str, **params: str) -> Any:
        """A websocket, as aiohttp's ``ws_connect`` gives it."""
        return self._http.ws_connect(self.url + path, params=params, max_msg_size=0, heartbeat=HEARTBEAT_SECONDS)


@asynccontextmanager
async def gateway_at(url: str, token: str | None) -> AsyncIterator[GatewayClient]:
    """A client of the gateway at ``url``."""
    import aiohttp

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as http:
        yield GatewayClient(url, http)


def answered(url: str, token: str | None, question: Callable[[GatewayClient], Awaitable[Result]]) -> Result:
    """Puts a question to the gateway at ``url``; out with one line where it cannot be answered."""

    async def ask() -> Result:
        async with gateway_at(url, token) as gateway:
            return await question(gateway)

    try:
        return asyncio.run(ask())
    except NotDone as error:
        fail(str(error))


def quoted(part: str) -> str:
    """One step of a path."""
    return quote(part, safe="")


def _refusal(status: int, told: Any) -> str:
    if isinstance(told, dict) and isinstance(told.get("message"), str):
        message = told["message"]
    elif isinstance(told, dict) and isinstance(told.get("error"), dict):
        message = told["error"].get("details") or told["error"].get("message") or ""
    elif isinstance(told, dict) and isinstance(told.get("error"), str):
        message = told["error"]  # ComfyUI's newer routes
    else:
        message = f"the gateway answered {status}"
    return f"{message}; give one with --token or COMFY_GATEWAY_TOKEN" if status == 401 else str(message)
