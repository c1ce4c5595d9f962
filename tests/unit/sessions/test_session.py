"""What one client's socket is sent, in which form, and what happens when it does not keep up."""

import asyncio
import json

import pytest
from aiohttp import WSCloseCode

from gateway.comfyui import frames, messages
from gateway.config import SessionsConfig
from gateway.sessions import session as sessions
from gateway.sessions.session import Session

METADATA = {"prompt_id": "a", "node_id": "9", "image_type": "image/jpeg"}
PREVIEW = frames.preview_frame_with_metadata(b"pixels", METADATA)
RESULT = frames.preview_frame_with_metadata(b"pixels", METADATA | {"image_type": "image/png"})


class Wire:
    """Takes frames while the gate is open."""

    together = 65_536

    def __init__(self):
        self.sent = []
        self.is_open = True
        self.is_sending = False
        self.closed_with = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.takes_close = True
        self.was_cut = asyncio.Event()

    async def send(self, frames):
        self.is_sending = True
        await self.gate.wait()
        self.sent += frames
        self.is_sending = False

    async def close(self, code, reason):
        self.closed_with = code
        if not self.takes_close:
            await asyncio.Event().wait()
        self.is_open = False

    def cut(self):
        self.was_cut.set()


@pytest.fixture
async def opened():
    """Sessions with a running sender, by their limits."""
    senders = []

    def make(*, flags=None, **limits):
        wire = Wire()
        session = Session("sid", "", wire, SessionsConfig(**limits))
        session.flags = flags if flags is not None else {"supports_preview_metadata": True}
        senders.append(asyncio.create_task(session.run()))
        return session, wire

    yield make
    for sender in senders:
        sender.cancel()
    await asyncio.gather(*senders, return_exceptions=True)


async def sent(session, wire):
    """What has been sent once the sender is idle, texts parsed."""
    while session._queue or session._wake.is_set() or wire.is_sending:
        await asyncio.sleep(0)
    return [json.loads(frame) if isinstance(frame, str) else frame for frame in wire.sent]


def text(number):
    return messages.make("said", {"number": number})


async def test_frames_go_out_in_order(opened):
    session, wire = opened()
    session.send(text(1))
    session.send_frame(PREVIEW)
    session.send(text(2))
    assert await sent(session, wire) == [json.loads(text(1).text), PREVIEW, json.loads(text(2).text)]


async def test_a_client_that_negotiated_gets_type_4_and_another_one_type_1(opened):
    session, wire = opened()
    session.send_frame(PREVIEW)
    assert await sent(session, wire) == [PREVIEW]
    plain, its_wire = opened(flags={})
    plain.send_frame(PREVIEW)
    plain.send(text(1))
    told = await sent(plain, its_wire)
    assert told[0] == frames.preview_frame(b"pixels", "image/jpeg")


async def test_other_binary_frames_pass_as_they_are(opened):
    session, wire = opened(flags={})
    progress_text = frames.progress_text_frame(frames.ProgressText("9", "half", None))
    session.send_frame(progress_text)
    assert await sent(session, wire) == [progress_text]


async def test_a_broken_frame_is_dropped(opened):
    session, wire = opened(flags={})
    session.send_frame(b"\0\0\0\x04\xff\xff\xff\xff")
    session.send(text(1))
    assert len(await sent(session, wire)) == 1


async def fill(session, wire, count):
    """Puts frames into the queue of a client that takes none: one is on its way, the rest wait."""
    wire.gate.clear()
    session.send(text(0))
    while session._queue:
        await asyncio.sleep(0)
    for number in range(1, count + 1):
        session.send(text(number))


async def test_previews_are_dropped_when_the_queue_is_full_and_texts_are_not(opened):
    session, wire = opened(queue_frames=16)
    await fill(session, wire, 15)
    for _ in range(5):
        session.send_frame(PREVIEW)
    assert session.dropped_previews == 4
    wire.gate.set()
    told = await sent(session, wire)
    assert [frame["data"]["number"] for frame in told if isinstance(frame, dict)] == list(range(16))
    assert told[-1] == PREVIEW
    assert wire.closed_with is None


@pytest.mark.parametrize("last", ["text", "result"])
async def test_a_client_that_has_no_room_for_what_counts_is_sent_away(opened, last):
    session, wire = opened(queue_frames=16)
    await fill(session, wire, 16)
    assert wire.closed_with is None
    session.send(text(99)) if last == "text" else session.send_frame(RESULT)
    await wire.was_cut.wait()
    assert wire.closed_with == WSCloseCode.TRY_AGAIN_LATER == 1013
    assert not session._queue, "nothing is kept for it"
    session.send(text(100))
    assert not session._queue


async def test_a_client_that_does_not_even_take_its_close_is_cut(opened, monkeypatch):
    monkeypatch.setattr(sessions, "FAREWELL_SECONDS", 0.01)
    session, wire = opened(queue_frames=16)
    wire.takes_close = False
    await fill(session, wire, 17)
    await wire.was_cut.wait()
    assert wire.is_open


async def test_the_bound_is_in_bytes_too(opened):
    session, wire = opened(queue_bytes=65_536)
    await fill(session, wire, 1)
    big = frames.preview_frame_with_metadata(b"x" * 65_000, METADATA)
    session.send_frame(big)
    session.send_frame(big)
    assert session.dropped_previews == 1


async def test_one_frame_above_the_bound_passes_alone(opened):
    """A picture may be larger than the whole queue."""
    session, wire = opened(queue_bytes=65_536)
    big = frames.preview_frame_with_metadata(b"x" * 200_000, METADATA | {"image_type": "image/png"})
    session.send_frame(big)
    assert await sent(session, wire) == [big]


async def test_statuses_are_coalesced_and_the_last_value_is_always_sent(opened):
    session, wire = opened(status_per_second=20)
    for remaining in range(100, -1, -1):
        session.send_status(remaining)
    values = []
    while 0 not in values:
        await asyncio.sleep(0)
        told = await sent(session, wire)
        values = [frame["data"]["status"]["exec_info"]["queue_remaining"] for frame in told]
    assert values[0] == 100
    assert values[-1] == 0
    assert len(values) <= 22


async def test_a_status_after_a_pause_goes_out_at_once(opened):
    session, wire = opened(status_per_second=1000)
    session.send_status(3)
    assert len(await sent(session, wire)) == 1


async def test_an_ended_session_leaves_no_timer(opened):
    session, _ = opened(status_per_second=1)
    for remaining in range(5):
        session.send_status(remaining)
    assert session._status_timer is not None
    session.ended()
    assert session._status_timer is None


async def test_a_picture_without_metadata_follows_its_progress(opened):
    session, wire = opened(flags={})
    session.send_frame(PREVIEW)
    session.send(messages.make("progress", {"value": 1}))
    told = await sent(session, wire)
    assert [frame["type"] if isinstance(frame, dict) else "preview" for frame in told] == ["progress", "preview"]


async def test_an_end_is_reported_once_it_is_with_the_socket(opened):
    session, wire = opened()
    ends = []
    session.on_end_sent = lambda end: ends.append(end.data["prompt_id"])
    wire.gate.clear()
    for job_id in ("a", "b"):
        session.send(messages.execution_start(job_id, 1))
        session.send(messages.executing("9", job_id))
        session.send(messages.executing(None, job_id))
    while len(session._queue) == 6:
        await asyncio.sleep(0)
    assert ends == [], "the first frame is stuck"
    wire.gate.set()
    assert len(await sent(session, wire)) == 6
    assert ends == ["a", "b"]


async def test_an_end_that_was_not_sent_is_not_reported(opened):
    session, wire = opened()
    ends = []
    session.on_end_sent = ends.append
    session.send(messages.executing(None, "a"))
    assert [message.type for message in session.unsent()] == ["executing"]
    session.send(messages.executing("9", "b"))
    assert len(await sent(session, wire)) == 1
    assert ends == []
