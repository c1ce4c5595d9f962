"""HTTP towards one runner: its headers injected, redirects not followed, every wait with a deadline, every failure
told apart by whether the request may have been carried out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import aiohttp
import orjson
from aiohttp import hdrs
from multidict import CIMultiDictProxy
from yarl import URL

from gateway.redaction import KNOWN
from gateway.runners.addresses import EndpointRules
from gateway.runners.errors import RunnerAmbiguous, RunnerMisanswered, RunnerUnreachable

CONNECTIONS_PER_RUNNER = 64
KEEPALIVE_SECONDS = 30.0
REQUEST_SECONDS = 30.0  # deadline of an ordinary call; uploads and views have none in total
STALLED_SECONDS = 60.0  # a stream that sends nothing for so long is given up
STREAM_BYTES = 256 * 1024  # of an answer that is read as it comes; twice as much may wait in memory
PING_SECONDS = 240.0  # lax: a runner's event loop stalls while it loads models; aiohttp waits half of it for the pong
LATENCY_WEIGHT = 0.3  # weight of the newest sample in the moving average


async def _refuse_redirected_websocket(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """aiohttp follows redirects of a websocket's handshake, which would take the runner's headers to another host."""
    answer = await handler(request)
    if hdrs.UPGRADE in request.headers and 300 <= answer.status < 400:
        answer.close()
        raise aiohttp.WSServerHandshakeError(
            answer.request_info,
            answer.history,
            status=answer.status,
            message="the runner answers with a redirect, which is not followed",
            headers=answer.headers,
        )
    return answer


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer of a runner."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    def json(self) -> Any:
        """Returns the parsed body. Raises ValueError where it is not JSON."""
        return orjson.loads(self.body)

    @property
    def ok(self) -> bool:
        """True for 200 to 299."""
        return 200 <= self.status < 300


class RunnerClient:
    """The HTTP side of one runner.

    Args:
        name: the runner's name, for errors and logs.
        endpoint: base URL without a trailing slash; may carry a path prefix.
        headers: sent with every request and the websocket's upgrade, to this runner only.
        connect_seconds: deadline for a connection to stand.
        rules: which addresses may be connected to; None where the configuration names the endpoint.
    """

    def __init__(
        self,
        name: str,
        endpoint: str,
        headers: Mapping[str, str],
        *,
        connect_seconds: float = 5.0,
        rules: EndpointRules | None = None,
    ) -> None:
        self.name = name
        self.endpoint = endpoint
        self.latency_seconds = 0.0  # moving average over the ordinary calls that were answered
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._headers = dict(headers)
        KNOWN.add(headers.values())
        self._connect_seconds = connect_seconds
        self._connector = rules.connector if rules is not None else aiohttp.TCPConnector
        self._session: aiohttp.ClientSession | None = None

    def url(self, path: str) -> URL:
        """The runner's URL for a ComfyUI path that is already percent-encoded, such as ``/userdata/a%2Fb``."""
        return URL(self.endpoint + path, encoded=True)

    @property
    def session(self) -> aiohttp.ClientSession:
        """The aiohttp session; opened at first use, inside a running loop."""
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                headers=self._headers,
                connector=self._connector(limit=CONNECTIONS_PER_RUNNER, keepalive_timeout=KEEPALIVE_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                middlewares=(_refuse_redirected_websocket,),
            )
        return self._session

    async def close(self) -> None:
        """Closes every connection."""
        if self._session is not None:
            await self._session.close()

    async def retire(self, seconds: float) -> None:
        """Closes every connection once no call is under way, or after so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        await self.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = REQUEST_SECONDS,
    ) -> Reply:
        """Sends one request and reads the whole answer, whatever its status.

        Raises:
            RunnerUnreachable: it was not delivered.
            RunnerAmbiguous: it may have been, and no answer came within ``timeout`` seconds.
        """
        if json is not None:
            data = orjson.dumps(json)
            headers = {"Content-Type": "application/json", **(headers or {})}
        began = time.monotonic()
        limits = _within(timeout, self._connect_seconds)
        with self._told_apart():
            async with self.session.request(
                method,
                self.url(path),
                params=params,
                data=data,
                headers=headers,
                timeout=limits,
                allow_redirects=False,
                middlewares=(),  # they are for websockets
            ) as response:
                body = await response.read()
        self._sample_latency(time.monotonic() - began)
        return Reply(response.status, response.headers, body)

    async def get_json(self, path: str, *, timeout: float | None = REQUEST_SECONDS) -> Any:
        """GETs a path and returns its JSON.

        Raises:
            RunnerMisanswered: the status is not 200, or the body is not JSON.
            RunnerUnreachable, RunnerAmbiguous: as ``request``.
        """
        reply = await self.request("GET", path, timeout=timeout)
        if reply.status != 200:
            raise RunnerMisanswered(self.name, f"GET {path} answered {reply.status}", reply.status)
        try:
            return reply.json()
        except ValueError as error:
            raise RunnerMisanswered(self.name, f"GET {path} answered no JSON", reply.status) from error

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        data: Any = None,
        stalled_seconds: float = STALLED_SECONDS,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Opens a request whose answer is read as a stream, as the bytes come (content encodings untouched).

        It is given up once nothing has come for ``stalled_seconds``.

        Raises:
            RunnerUnreachable, RunnerAmbiguous: before the answer's headers, or while the caller reads.
        """
        limits = aiohttp.ClientTimeout(total=None, sock_connect=self._connect_seconds, sock_read=stalled_seconds)
        with self._told_apart():
            async with self.session.request(
                method,
                self.url(path),
                params=params,
                headers=headers,
                data=data,
                timeout=limits,
                allow_redirects=False,
                skip_auto_headers=(hdrs.CONTENT_TYPE,),
                read_bufsize=STREAM_BYTES,
                middlewares=(),
            ) as response:
                yield response

    async def upload(
        self,
        file: bytes | AsyncIterator[bytes],
        *,
        filename: str,
        subfolder: str,
        type: str,  # noqa: A002 - ComfyUI's own name of the field
        overwrite: bool = True,
    ) -> Reply:
        """Puts a file on the runner (ComfyUI server.py ``POST /upload/image``), streaming where it is a stream."""
        form = aiohttp.MultipartWriter("form-data")
        part = form.append(file, {"Content-Type": "application/octet-stream"})
        # Names travel as they are: aiohttp's percent-encoding is not undone by ComfyUI.
        part.set_content_disposition("form-data", quote_fields=False, name="image", filename=filename)
        for key, value in (("type", type), ("subfolder", subfolder), ("overwrite", "true" if overwrite else "false")):
            form.append(value).set_content_disposition("form-data", quote_fields=False, name=key)
        return await self.request("POST", "/upload/image", data=form, timeout=None)

    def websocket(self, sid: str) -> Any:
        """The context manager of the link's websocket (ComfyUI server.py ``/ws``), for this ``clientId``.

        Frames may be of any size: SaveImageWebsocket sends pictures of tens of MB.
        """
        return self.session.ws_connect(
            self.url("/ws").with_query(clientId=sid),
            max_msg_size=0,
            compress=0,
            autoping=False,  # the link sees the pongs: one of its own proves that it stands
            heartbeat=PING_SECONDS,
            timeout=aiohttp.ClientWSTimeout(ws_close=2.0),
        )

    @asynccontextmanager
    async def tunnel(
        self, path: str, *, headers: Mapping[str, str], protocols: Sequence[str] = ()
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Opens a websocket of any path of the runner, as the routes of custom nodes have them; frames of any size.

        Raises:
            RunnerMisanswered: it answered, but not with a websocket.
            RunnerUnreachable, RunnerAmbiguous: before the websocket stands.
        """
        connecting = self.session.ws_connect(
            self.url(path),
            headers=headers,
            protocols=protocols,
            max_msg_size=0,
            compress=0,
            timeout=aiohttp.ClientWSTimeout(ws_close=2.0),
        )
        with self._told_apart():
            try:
                async with asyncio.timeout(REQUEST_SECONDS):
                    socket = await connecting
            except aiohttp.WSServerHandshakeError as error:
                raise RunnerMisanswered(self.name, f"no websocket: {error.message}", error.status) from error
        async with socket:
            yield socket

    def _sample_latency(self, seconds: float) -> None:
        self.latency_seconds += LATENCY_WEIGHT * (seconds - self.latency_seconds)

    @contextmanager
    def _told_apart(self) -> Iterator[None]:
        """Counts the call, and tells its failures apart."""
        self._under_way += 1
        self._idle.clear()
        try:
            with _ToldApart(self.name):
                yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()


@lru_cache
def _within(seconds: float | None, connect_seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=seconds, sock_connect=connect_seconds)


class _ToldApart:
    """Turns aiohttp's failures into this room's, by whether the request may have been carried out."""

    def __init__(self, runner: str) -> None:
        self._runner = runner

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | aiohttp.InvalidURL):
            raise RunnerUnreachable(self._runner, str(error) or type(error).__name__) from error
        if isinstance(error, asyncio.TimeoutError):
            raise RunnerAmbiguous(self._runner, "no answer in time") from error
        if isinstance(error, aiohttp.ClientError | OSError):
            raise RunnerAmbiguous(self._runner, str(error) or type(error).__name__) from error
