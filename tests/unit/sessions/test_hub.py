"""Who is told what, who has been away, and who came back."""

import json

import pytest
from support.room import NO_NEEDS, NOW_MS, PROMPT, StandingClock

from gateway.comfyui import frames, messages
from gateway.config import SessionsConfig
from gateway.jobs.content import Content
from gateway.jobs.job import Job, Options
from gateway.sessions import hub as hubs
from gateway.sessions.hub import Hub
from gateway.sessions.session import Session

PREVIEW = frames.preview_frame_with_metadata(b"pixels", {"prompt_id": "a", "node_id": "9", "image_type": "image/jpeg"})


class Live:
    """What the hub asks of the jobs room."""

    def __init__(self):
        self.running = []
        self.remaining = 0

    def running_of(self, client_id, owner):
        return [job for job in self.running if (job.client_id, job.owner) == (client_id, owner)]

    def remaining_of(self, owner):
        return self.remaining


class Wire:
    """Never asked to send: the sender does not run here."""


@pytest.fixture
def hub():
    made = Hub(lambda: {"supports_preview_metadata": True})
    made.live = Live()
    return made


def session(sid="client", owner=""):
    return Session(sid, owner, Wire(), SessionsConfig())


def connect(hub, sid="client", owner="", flags=None):
    opened = session(sid, owner)
    opened.flags = flags or {}
    hub.connected(opened)
    return opened


def heard(opened):
    """What is queued for it and not yet taken, as types."""
    kinds = []
    while opened._queue:
        frame = opened._queue.popleft()
        kinds.append(kind(json.loads(frame)) if isinstance(frame, str) else frames.event_of(frame))
    return kinds


def kind(message):
    if message["type"] == "status":
        return ("status", message["data"]["status"]["exec_info"]["queue_remaining"])
    return "done" if message["data"].get("node", "") is None else message["type"]


def job(job_id="a", client_id="client", owner=""):
    return Job(job_id, 1, 1, owner, client_id, Content(PROMPT, {}), {}, Options(), NO_NEEDS, NOW_MS)


def started(job_id="a"):
    return messages.execution_start(job_id, 1)


async def test_a_new_socket_is_told_its_id_and_the_queue(hub):
    hub.live.remaining = 3
    opened = connect(hub)
    message = json.loads(opened._queue[0])
    assert message == {"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 3}}, "sid": "client"}}


async def test_a_job_is_told_to_its_client_only(hub):
    mine, other = connect(hub), connect(hub, "other")
    heard(mine), heard(other)
    hub.job_message(job(), started())
    hub.job_frame(job(), PREVIEW)
    hub.job_message(job(client_id=None), started())
    mine.send(messages.make("end", {}))
    assert heard(mine) == ["execution_start", 1, "end"]
    assert heard(other) == []


async def test_a_client_of_another_owner_with_the_same_id_hears_nothing(hub):
    opened = connect(hub, owner="alice")
    heard(opened)
    hub.job_message(job(owner="bob"), started())
    assert heard(opened) == []


async def test_the_end_of_an_older_socket_leaves_the_newer_one(hub):
    """ComfyUI forgets the id then, and the newer socket goes deaf."""
    older = connect(hub)
    newer = connect(hub)
    heard(newer)
    hub.disconnected(older)
    hub.job_message(job(), started())
    assert heard(newer) == ["execution_start"]
    assert len(hub) == 1
    hub.disconnected(newer)
    assert len(hub) == 0


async def test_what_a_client_missed_is_told_when_it_is_back(hub):
    hub.disconnected(connect(hub))
    for message in (
        started(),
        messages.make("progress", {"prompt_id": "a"}),
        messages.executing("9", "a"),
        messages.make("executed", {"prompt_id": "a", "node": "9"}),
        messages.execution_success("a", 2),
        messages.executing(None, "a"),
    ):
        hub.job_message(job(), message)
    hub.job_frame(job(), PREVIEW)
    assert heard(connect(hub)) == [("status", 0), "executed", "execution_success", "done"]
    assert heard(connect(hub)) == [("status", 0)], "once"


async def test_another_owner_does_not_hear_what_a_client_missed(hub):
    hub.job_message(job(owner="bob"), messages.execution_success("a", 2))
    assert heard(connect(hub, owner="alice")) == [("status", 0)]
    assert heard(connect(hub, owner="bob")) == [("status", 0), "execution_success"]


async def test_what_is_kept_for_the_absent_is_bounded(hub, monkeypatch):
    monkeypatch.setattr(hubs, "MISSED_CLIENTS_MOST", 2)
    for name in ("first", "second", "third"):
        for _ in range(hubs.MISSED_MESSAGES_MOST + 10):
            hub.job_message(job(client_id=name), messages.execution_success("a", 2))
    assert heard(connect(hub, "first")) == [("status", 0)]
    assert len(heard(connect(hub, "third"))) == 1 + hubs.MISSED_MESSAGES_MOST


async def test_a_client_that_comes_in_the_middle_is_told_where_its_job_stands(hub):
    running = job()
    running.live.start = started()
    running.live.executed = [messages.make("executed", {"prompt_id": "a", "node": "2"})]
    running.live.progress_state = messages.make("progress_state", {"prompt_id": "a", "nodes": {}})
    running.live.executing = messages.executing("9", "a")
    running.live.preview = PREVIEW
    hub.live.running = [running, job("b", "other")]
    opened = connect(hub, flags={"supports_preview_metadata": True})
    assert heard(opened) == [("status", 0), "execution_start", "executed", "progress_state", "executing", 4]


async def test_an_output_of_a_running_job_is_not_told_twice(hub):
    """It was kept for the absent client, and the job's own state has it too."""
    running = job()
    running.live.start = started()
    output = messages.make("executed", {"prompt_id": "a", "node": "2"})
    hub.job_message(running, output)
    hub.job_message(job("before"), messages.execution_success("before", 2))
    running.live.executed = [output]
    hub.live.running = [running]
    assert heard(connect(hub)) == [("status", 0), "execution_success", "execution_start", "executed"]


async def test_all_of_an_owner_see_the_length_of_its_queue(hub):
    opened = [connect(hub, name) for name in ("a", "b")]
    another = connect(hub, owner="bob")
    for each in (*opened, another):
        heard(each)
    hub.live.remaining = 7
    hub.queue_changed("")
    assert [heard(each) for each in opened] == [[("status", 7)]] * 2
    assert heard(another) == [], "not even that something has changed"
    hub.disconnected(another)
    hub.queue_changed("bob")


async def test_flags_are_answered_with_the_pools(hub):
    opened = connect(hub)
    heard(opened)
    hub.negotiated(opened, {"supports_preview_metadata": True})
    assert opened.wants_metadata
    assert heard(opened) == ["feature_flags"]


async def test_an_id_is_made_as_comfyui_makes_it():
    assert len(Hub.new_sid()) == 32
    assert Hub.new_sid() != Hub.new_sid()


async def test_a_client_that_stays_away_is_forgotten():
    clock = StandingClock()
    hub = Hub(dict, SessionsConfig(mode="serial"), clock)
    hub.live = Live()
    for name in ("first", "second"):
        hub.job_message(job(client_id=name), messages.execution_success("a", 2))
        clock.seconds += hubs.MISSED_SECONDS / 2 + 1
    assert heard(connect(hub, "first")) == [("status", 0)]
    assert heard(connect(hub, "second")) == [("status", 0), "execution_success"]
    clock.seconds += 10 * hubs.MISSED_SECONDS
    assert len(hub._clients) == 2, "not while it is connected"


async def test_a_second_owner_with_the_same_id_is_another_client(hub):
    connect(hub, owner="alice")
    theirs = connect(hub, owner="bob")
    hub.job_message(job(owner="bob"), started())
    assert heard(theirs) == [("status", 0), "execution_start"]


@pytest.mark.parametrize("configured", ["auto", "raw", "focus", "serial"])
@pytest.mark.parametrize("asked", [None, "raw", "serial"])
async def test_who_runs_alone(configured, asked):
    hub = Hub(dict, SessionsConfig(mode=configured))
    hub.live = Live()
    assert hub.runs_alone("", "client") is (configured == "serial")
    hub.connected(session(), asked)
    assert hub.runs_alone("", "client") is ((asked or configured) == "serial")


async def test_a_tab_is_told_one_job_after_the_other(hub):
    opened = connect(hub)
    hub.negotiated(opened, {"supports_preview_metadata": True})
    heard(opened)
    for job_id in ("a", "b"):
        hub.job_message(job(job_id), started(job_id))
    hub.job_frame(job("b"), PREVIEW)
    assert heard(opened) == ["execution_start"]
    hub.job_lost(job("a"))
    assert heard(opened) == ["execution_start"]


async def test_two_owners_with_the_same_id_have_a_socket_each(hub):
    alices, bobs = connect(hub, owner="alice"), connect(hub, owner="bob")
    assert len(hub) == 2
    hub.disconnected(bobs)
    heard(alices)
    hub.queue_changed("alice")
    assert heard(alices) == [("status", 0)]


async def test_an_end_is_told_when_the_socket_has_it(hub):
    told = []
    hub.on_told = told.append
    hub.job_message(job("away"), messages.executing(None, "away"))
    assert told == [], "its client is away"
    opened = connect(hub)
    opened.on_end_sent(messages.executing(None, "away"))
    assert told == ["away"]
