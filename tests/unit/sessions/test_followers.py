"""Sockets that follow an owner's jobs which name no client: what they hear, and what is kept for later ones."""

from types import SimpleNamespace

import pytest

from gateway.comfyui import messages
from gateway.sessions import followers as module
from gateway.sessions.followers import KEPT_SECONDS, Followers


class Socket:
    """As much of a session as is asked for."""

    def __init__(self, owner):
        self.owner = owner
        self.server_flags = {}
        self.heard = []

    def send(self, message):
        self.heard.append(message)

    def send_frame(self, frame):
        self.heard.append(frame)


class Time:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def followers(time):
    return Followers(time)


def job(owner):
    return SimpleNamespace(owner=owner)


def message(kind, prompt_id="p", **data):
    return messages.make(kind, {"prompt_id": prompt_id, **data})


def test_only_the_owners_sockets_hear(followers):
    mine, too, other = Socket("alice"), Socket("alice"), Socket("bob")
    for socket in (mine, too, other):
        followers.joined(socket)
    told = message("progress", value=1, max=2)
    followers.message(job("alice"), told)
    followers.frame(job("alice"), b"\x00\x00\x00\x01frame")
    assert mine.heard == too.heard == [told, b"\x00\x00\x00\x01frame"]
    assert other.heard == []


def test_one_that_is_gone_hears_nothing(followers):
    socket = Socket("alice")
    followers.joined(socket)
    followers.left(socket)
    followers.left(socket)
    followers.message(job("alice"), message("progress"))
    assert socket.heard == []


def test_outputs_and_ends_wait_for_those_that_come_later(followers):
    for kind in ("execution_start", "executed", "progress", "execution_success"):
        followers.message(job("alice"), message(kind))
    followers.message(job("bob"), message("executed"))
    socket = Socket("alice")
    followers.joined(socket)
    assert [told.type for told in socket.heard] == ["executed", "execution_success"]


def test_not_for_ever(followers, time):
    followers.message(job("alice"), message("executed"))
    time.now = KEPT_SECONDS + 1
    socket = Socket("alice")
    followers.joined(socket)
    assert socket.heard == []


def test_what_is_kept_is_bounded(followers, monkeypatch):
    monkeypatch.setattr(module, "KEPT_MESSAGES_MOST", 3)
    for number in range(10):
        followers.message(job("alice"), message("executed", str(number)))
    socket = Socket("alice")
    followers.joined(socket)
    assert [told.data["prompt_id"] for told in socket.heard] == ["7", "8", "9"]
    monkeypatch.setattr(module, "KEPT_BYTES_MOST", 1_000)
    followers.message(job("alice"), message("executed", "large", text="x" * 900))
    later = Socket("alice")
    followers.joined(later)
    assert [told.data["prompt_id"] for told in later.heard] == ["large"]
