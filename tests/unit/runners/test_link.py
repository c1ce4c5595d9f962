"""The link to a simulated runner: it negotiates, hands over in order, and comes back."""

import asyncio

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.comfyui import messages
from gateway.runners import client as clients
from gateway.runners import link as links
from gateway.runners.client import RunnerClient
from gateway.runners.link import Link
from gateway.simulator import Simulator, SimulatorOptions


class Heard:
    """What a link tells, and a way to wait for it."""

    def __init__(self):
        self.told = []
        self.news = asyncio.Event()
        self.failure = None
        self.reason = ""

    async def link_opened(self):
        self._note("opened")

    async def link_closed(self, reason):
        self._note("closed")

    async def link_not_opened(self, reason):
        self.reason = reason
        self._note("not opened")

    async def link_message(self, message):
        self._note(message.type)
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure

    async def link_binary(self, frame):
        self._note("frame")

    def _note(self, what):
        self.told.append(what)
        self.news.set()

    async def until(self, what, times=1):
        while self.told.count(what) < times:
            self.news.clear()
            await asyncio.wait_for(self.news.wait(), 10)


@pytest.fixture
async def simulator():
    async with Simulator(SimulatorOptions(required_header=("X-Key", "secret"), deaf_bug=True)) as runner:
        yield runner


@pytest.fixture
async def make(monkeypatch, simulator):
    monkeypatch.setattr(links, "RECONNECT_FIRST_SECONDS", 0.01)
    opened = []

    def make_link(headers=None):
        client = RunnerClient("gpu-0", simulator.url, {"X-Key": "secret"} if headers is None else headers)
        heard = Heard()
        link = Link(client, "the-gateway", heard)
        opened.append((link, client))
        link.start()
        return link, heard

    yield make_link
    for link, client in opened:
        await link.stop()
        await client.close()


async def test_it_negotiates_before_it_is_open(make, simulator):
    link, heard = make()
    await heard.until("status")
    assert heard.told[:2] == ["opened", "status"]
    assert link.server_flags["supports_preview_metadata"] is True
    assert simulator.state.sockets.supports("the-gateway", "supports_preview_metadata")


async def test_it_comes_back_and_is_heard_by_the_runner_again(make, simulator):
    """Never two sockets at once: ComfyUI would forget the newer one."""
    link, heard = make()
    for life in range(1, 4):
        await heard.until("opened", life)
        assert len(simulator.state.sockets) == 1
        before = heard.told.count("hello")
        simulator.state.sockets.send("hello", {}, "the-gateway")
        await heard.until("hello", before + 1)
        simulator.drop_websockets()
        await heard.until("closed", life)
    await heard.until("opened", 4)
    assert link.is_open


async def test_a_restarted_runner_is_found_again(make, simulator):
    _, heard = make()
    await heard.until("opened")
    await simulator.restart()
    await heard.until("opened", 2)


async def test_a_flood_leaves_turns_to_others(make, simulator):
    """Clients' queues are bounded: whoever empties them must not wait until everything that has come is heard."""

    class Flood:
        left = 10 * links.IN_A_ROW_MOST

        def __aiter__(self):
            return self

        async def __anext__(self):
            if not self.left:
                raise StopAsyncIteration
            self.left -= 1
            return aiohttp.WSMessage(aiohttp.WSMsgType.TEXT, '{"type":"hello","data":{}}', None)

    link, heard = make()
    await heard.until("opened")
    following = asyncio.create_task(link._follow(Flood()))
    most = 0
    while not following.done():
        before = heard.told.count("hello")
        await asyncio.sleep(0)
        most = max(most, heard.told.count("hello") - before)
    assert heard.told.count("hello") == 10 * links.IN_A_ROW_MOST
    assert most <= links.IN_A_ROW_MOST


async def test_what_is_not_open_is_not_closed(make, simulator):
    simulator.faults.refuse_websockets = True
    link, heard = make()
    link.retry_now()
    refused, _ = make(headers={})
    await asyncio.gather(link._once(), refused._once())
    assert set(heard.told) == {"not opened"}
    assert heard.reason == "the websocket was refused with 503"
    assert not link.is_open
    simulator.faults.refuse_websockets = False
    await heard.until("opened")


async def test_a_fault_in_what_a_message_does_costs_the_socket_and_not_the_link(make, simulator):
    _, heard = make()
    await heard.until("status")
    heard.failure = KeyError("a bug")
    simulator.state.sockets.send("hello", {}, "the-gateway")
    await heard.until("closed")
    await heard.until("opened", 2)


async def test_frames_of_any_size_pass(make, simulator):
    _, heard = make()
    await heard.until("opened")
    simulator.state.sockets.send("large", {"text": "x" * 8_000_000}, "the-gateway")
    await heard.until("large")


async def test_an_open_link_answers_and_one_whose_runner_is_gone_does_not(make, simulator):
    link, listener = make()
    assert await link.answers() is False
    await listener.until("opened")
    assert await link.answers() is True
    asked = asyncio.create_task(link.answers())
    await simulator.die()
    await listener.until("closed")
    await asked
    assert await link.answers() is False


async def test_a_stopped_link_is_closed(make, simulator):
    link, heard = make()
    await heard.until("opened")
    await link.stop()
    assert not link.is_open
    while len(simulator.state.sockets):
        await asyncio.sleep(0)


async def test_a_peer_that_is_gone_without_a_word_is_noticed(monkeypatch):
    """No TCP message says that it went: it only stops to answer pings."""
    monkeypatch.setattr(clients, "PING_SECONDS", 0.05)

    async def never_answers(request):
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        await socket.send_str(messages.feature_flags({}).text)
        async for _ in socket:
            pass
        return socket

    app = web.Application()
    app.router.add_get("/ws", never_answers)
    async with TestServer(app) as server:
        client, heard = RunnerClient("gpu-0", str(server.make_url("")).rstrip("/"), {}), Heard()
        link = Link(client, "the-gateway", heard)
        link.start()
        try:
            await heard.until("opened")
            await heard.until("closed")
        finally:
            await link.stop()
            await client.close()
