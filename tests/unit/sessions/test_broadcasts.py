"""Who hears what a runner tells that belongs to no job; a client is known by its owner and its id."""

from types import SimpleNamespace

import pytest

from gateway.comfyui import messages
from gateway.sessions.broadcasts import Broadcasts

ALICE, BOB = ("alice", "client"), ("bob", "client")
LOGS = messages.make("logs", {"entries": []})


class Ear:
    """A session that notes what it is sent."""

    def __init__(self):
        self.heard = []

    def send(self, message):
        self.heard.append(message.type)

    def send_frame(self, frame):
        self.heard.append(frame)


class Told:
    """A runner that notes what it is told."""

    def __init__(self):
        self.name = "gpu-0"
        self.link = SimpleNamespace(sid="gateway")
        self.client = self
        self.told = []

    async def request(self, method, path, *, json, timeout):
        self.told.append(json["enabled"])


@pytest.fixture
def ears():
    return {ALICE: Ear(), BOB: Ear()}


@pytest.fixture
def broadcasts(ears):
    return Broadcasts(ears)


async def test_a_log_is_read_by_the_owner_who_subscribed(broadcasts, ears):
    runner = Told()
    await broadcasts.subscribe(ALICE, runner, lambda _name: runner)
    broadcasts.message("gpu-0", LOGS)
    assert (ears[ALICE].heard, ears[BOB].heard) == (["logs"], [])
    await broadcasts.unsubscribe(BOB, lambda _name: runner)
    assert runner.told == [True], "nobody's subscription ends by another owner's"
    await broadcasts.unsubscribe(ALICE, lambda _name: runner)
    assert runner.told == [True, False]


async def test_an_idle_runner_is_heard_by_the_owner_it_answers_for(broadcasts, ears):
    broadcasts.joined(ALICE, lambda: "gpu-0")
    broadcasts.joined(BOB, lambda: "gpu-1")
    broadcasts.frame("gpu-0", b"frame")
    assert (ears[ALICE].heard, ears[BOB].heard) == ([b"frame"], [])


async def test_a_socket_that_leaves_takes_only_its_own_subscription_along(broadcasts, ears):
    runner = Told()
    for client in (ALICE, BOB):
        broadcasts.joined(client, lambda: "gpu-0")
        await broadcasts.subscribe(client, runner, lambda _name: runner)
    del ears[ALICE]
    await broadcasts.left(ALICE, lambda _name: runner)
    broadcasts.message("gpu-0", LOGS)
    assert ears[BOB].heard == ["logs"]
    assert False not in runner.told
