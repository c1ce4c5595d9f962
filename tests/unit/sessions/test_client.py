"""One client over several sockets: what it is told now, what later, and what when it is back."""

import json

import pytest
from support.room import NO_NEEDS, NOW_MS, PROMPT

from gateway.comfyui import frames, messages
from gateway.config import SessionsConfig
from gateway.jobs.content import Content
from gateway.jobs.job import Job, Options
from gateway.sessions.client import Client
from gateway.sessions.modes import Mode
from gateway.sessions.session import Session


class Wire:
    """Never asked to send: the sender does not run here."""

    async def close(self, code, reason):
        """Takes its close."""

    def cut(self):
        """Is gone."""


def limits(**more):
    return SessionsConfig(**{"mode": "focus"} | more)


def client(**more):
    return Client(limits(**more), missed_most=100)


def socket(**more):
    return Session("sid", "", Wire(), limits(**more))


def heard(session):
    """What is queued for it and not yet taken, as `a:execution_start`, `a:done`."""
    found = []
    while session._queue:
        frame = session._queue.popleft()
        session._bytes -= len(frame)
        if isinstance(frame, str):
            message = json.loads(frame)
            data = message["data"]
            kind = "done" if data.get("node", "") is None else message["type"]
            found.append(f"{data.get('prompt_id')}:{kind}")
        else:
            found.append(frames.event_of(frame))
    return found


def job(job_id, **live):
    made = Job(job_id, 1, 1, "", "sid", Content(PROMPT, {}), {}, Options(), NO_NEEDS, NOW_MS)
    made.live.start = start(job_id)
    for name, value in live.items():
        setattr(made.live, name, value)
    return made


def start(job_id):
    return messages.execution_start(job_id, 1)


def output(job_id):
    return messages.make("executed", {"node": "9", "output": {}, "prompt_id": job_id})


def end(job_id):
    return messages.executing(None, job_id)


def preview(job_id, mime="image/jpeg"):
    return frames.preview_frame_with_metadata(b"x", {"prompt_id": job_id, "image_type": mime})


def tell(to, *told):
    for message in told:
        to.hear(message.data["prompt_id"], message)


async def test_one_job_after_the_other():
    to, now = client(), socket()
    to.connected(now, None, [])
    tell(to, start("a"), start("b"), output("b"), end("b"), end("a"))
    assert heard(now) == ["a:execution_start", "a:done", "b:execution_start", "b:executed", "b:done"]


async def test_flags_decide_where_nothing_else_does():
    to, now = client(mode="auto"), socket()
    to.connected(now, None, [])
    assert to.mode is Mode.RAW
    tell(to, start("a"), start("b"))
    assert heard(now) == ["a:execution_start", "b:execution_start"]
    to.negotiated([job("a"), job("b")])
    assert to.mode is Mode.FOCUS
    tell(to, output("a"), output("b"))
    assert heard(now) == ["b:executed"], "the newest goes on"
    tell(to, end("b"))
    assert heard(now) == ["b:done", "a:execution_start", "a:executed"]


@pytest.mark.parametrize("mode", ["raw", "serial"])
async def test_flags_do_not_decide_where_the_client_asked(mode):
    to, now = client(mode="auto"), socket()
    to.connected(now, mode, [])
    to.negotiated([])
    assert to.mode is Mode(mode)


class TestReturn:
    async def test_the_job_that_was_live_is_drawn_again_and_others_wait_on(self):
        to, before, now = client(), socket(), socket()
        to.connected(before, None, [])
        tell(to, start("a"), start("b"), output("b"))
        assert to.left(before)
        executing = messages.executing("1", "a")
        tell(to, executing)
        running = [job("b", executed=[output("b")]), job("a", executing=executing, preview=preview("a"))]
        now.flags = {"supports_preview_metadata": True}
        to.connected(now, None, running)
        assert heard(now) == ["a:execution_start", "a:executing", frames.BinaryEvent.PREVIEW_IMAGE_WITH_METADATA]
        tell(to, end("a"))
        assert heard(now) == ["a:done", "b:execution_start", "b:executed"]

    async def test_jobs_that_ended_meanwhile_are_told_in_turn_and_the_next_is_drawn(self):
        to, before, now = client(), socket(), socket()
        to.connected(before, None, [])
        tell(to, start("a"), start("b"), start("c"))
        to.left(before)
        tell(to, output("b"), end("b"), output("a"), end("a"))
        to.connected(now, None, [job("c")])
        assert heard(now) == ["a:executed", "a:done", "b:executed", "b:done", "c:execution_start"]

    async def test_once(self):
        to, now, later = client(), socket(), socket()
        tell(to, output("a"), end("a"))
        to.connected(now, None, [])
        to.left(now)
        assert heard(now) == []
        to.connected(later, None, [])
        assert heard(later) == ["a:executed", "a:done"], "it was still unsent"

    async def test_running_jobs_that_nothing_is_known_of_are_told_one_after_the_other(self):
        to, now = client(), socket()
        to.connected(now, None, [job("a"), job("b", preview=preview("b"))])
        assert heard(now) == ["a:execution_start"]
        tell(to, end("a"))
        assert heard(now) == ["a:done", "b:execution_start"]

    async def test_a_client_that_now_wants_everything_hears_what_waited(self):
        to, before, now = client(), socket(), socket()
        to.connected(before, None, [])
        tell(to, start("a"), start("b"), output("b"), end("b"), start("c"))
        to.left(before)
        heard(before)
        to.connected(now, "raw", [job("a"), job("c")])
        assert heard(now) == ["b:executed", "b:done", "a:execution_start", "c:execution_start"]
        tell(to, output("c"), output("a"))
        assert heard(now) == ["c:executed", "a:executed"]


class TestSockets:
    async def test_a_newer_socket_takes_over_what_the_older_had_not_sent(self):
        to, older, newer = client(), socket(), socket()
        to.connected(older, None, [])
        tell(to, start("a"), output("a"), end("a"))
        to.connected(newer, None, [])
        assert heard(newer) == ["a:executed", "a:done"]
        assert not to.left(older)
        assert to.session is newer

    async def test_what_a_slow_client_did_not_take_is_told_when_it_is_back(self):
        to, slow, now = client(mode="raw"), socket(queue_frames=16), socket()
        to.connected(slow, None, [])
        ids = [f"job-{number}" for number in range(12)]
        for job_id in ids:
            tell(to, output(job_id), end(job_id))
        assert slow.is_too_slow
        to.connected(now, None, [])
        assert heard(now) == [f"{job_id}:{kind}" for job_id in ids for kind in ("executed", "done")]
        await slow._farewell

    async def test_what_is_kept_for_a_turn_fits_into_the_sockets_queue(self):
        to, now = client(queue_frames=64), socket(queue_frames=64)
        to.connected(now, None, [])
        tell(to, start("a"))
        for number in range(500):
            tell(to, messages.make("said", {"prompt_id": "b", "number": number}))
        tell(to, end("a"), start("c"))
        assert not now.is_too_slow

    async def test_for_one_that_is_away_less_is_kept(self):
        to, before = client(), socket()
        to.connected(before, None, [])
        tell(to, start("a"), start("b"))
        picture = frames.preview_frame(bytes(2 * 1024 * 1024), "image/png")
        to.hear("b", picture)
        assert to._focus.kept_bytes > len(picture)
        to.left(before)
        assert to._focus.kept_bytes < 1024 * 1024


@pytest.mark.parametrize("announced", [True, False])
async def test_progress_texts_have_the_form_that_was_announced(announced):
    to, now = client(), socket()
    now.server_flags = {"supports_progress_text_metadata": announced}
    to.connected(now, None, [])
    to.hear("a", frames.progress_text_frame(frames.ProgressText("9", "half", "a")))
    (sent,) = now._queue
    wanted = frames.ProgressText("9", "half", "a" if announced else None)
    assert frames.decode_progress_text(sent, has_prompt_id=announced) == wanted


async def test_a_lost_job_gives_its_turn_away():
    to, now = client(), socket()
    to.connected(now, None, [])
    tell(to, start("a"), start("b"))
    to.lost("a")
    assert heard(now) == ["a:execution_start", "b:execution_start"]
