"""Playbooks: what a runner's link brings, what the client hears of it, and what is kept."""

import orjson
import pytest

from gateway.comfyui import frames, messages
from gateway.jobs.states import JobState
from gateway.runners.errors import RunnerUnreachable
from gateway.storage import jobs as job_rows

PICTURE = {"images": [{"filename": "out_00001_.png", "subfolder": "", "type": "output"}]}
ASSET = "0b7f6a52-6d0f-4b53-9a55-0d2f0e3c9a11"
ANOTHER = {"images": [{"filename": "out_00002_.png", "subfolder": "", "type": "output"}]}


async def end(room, attempt, kind="execution_success", **entry):
    """The last two messages of a job, with the runner's history between them."""
    await room.tell(attempt, kind, timestamp=2)
    room.finish(attempt, end=kind, **entry)
    await room.tell(attempt, "executing", node=None)


async def entry_of(room, job_id):
    await room.db.flushed()
    row = await job_rows.load_job(room.db, job_id)
    return row, orjson.loads(row.entry)


async def test_a_whole_run(room):
    attempt = await room.running()
    await room.tell(attempt, "execution_cached", nodes=[], timestamp=1)
    await room.tell(attempt, "progress_state", nodes={"9": {"prompt_id": attempt.runner_prompt_id}})
    await room.tell(attempt, "executing", node="9", display_node="9")
    await room.tell(attempt, "executed", node="9", display_node="9", output=PICTURE)
    await end(room, attempt, outputs={"9": PICTURE})
    assert room.listener.told == [
        ("", "status"),
        ("a", "execution_start"),
        ("a", "execution_cached"),
        ("a", "progress_state"),
        ("a", "executing"),
        ("a", "executed"),
        ("a", "execution_success"),
        ("", "status"),
        ("a", "done"),
    ]
    row, entry = await entry_of(room, "a")
    assert row.state == "completed"
    assert row.runner == "gpu-0"
    assert entry["outputs"] == {"9": PICTURE}
    assert entry["status"]["completed"] is True
    assert room.registry.remaining == 0
    assert room.registry.held("gpu-0") == 0


async def test_every_message_names_the_clients_id_only(room):
    attempt = await room.running()
    runner_id = attempt.runner_prompt_id
    assert runner_id != "a"
    node = {"prompt_id": runner_id, "node_id": "9"}
    await room.tell(attempt, "progress_state", nodes={"9": node})
    await room.tell(attempt, "executed", node="9", display_node="9", output=PICTURE)
    await end(room, attempt, outputs={"9": PICTURE})
    assert all(message.data["prompt_id"] == "a" for message in room.listener.messages)
    assert not any(runner_id in message.text for message in room.listener.messages)
    _, entry = await entry_of(room, "a")
    assert runner_id.encode() not in orjson.dumps(entry)
    assert entry["prompt"][:2] == [1, "a"]
    assert entry["prompt"][3]["client_id"] == "client"


async def test_the_end_is_told_only_when_the_history_has_it(room):
    attempt = await room.running()
    await room.tell(attempt, "execution_success", timestamp=2)
    assert "execution_success" not in room.listener.types()
    assert await room.history.entry("a", None) is None
    heard_with_history = []
    tell = room.listener.job_message
    room.listener.job_message = lambda job, message: (
        heard_with_history.append("a" in room.history),
        tell(job, message),
    )
    room.finish(attempt)
    await room.tell(attempt, "executing", node=None)
    assert heard_with_history == [True, True]


async def test_the_first_message_overtakes_the_answer_to_the_post(room):
    job = room.job("a")
    room.registry.add(job)
    attempt = room.registry.new_attempt(job, "gpu-0", probe=True)
    await room.registry.store_submission(job, attempt)
    await room.tell(attempt, "execution_start", timestamp=1)
    assert job.state is JobState.RUNNING
    assert room.listener.types() == ["execution_start"]


async def test_a_nodes_exception_is_an_answer(room):
    attempt = await room.running()
    await end(room, attempt, "execution_error")
    assert room.listener.types() == ["execution_start", "execution_error", "done"]
    row, entry = await entry_of(room, "a")
    assert row.state == "failed"
    assert entry["status"]["status_str"] == "error"


async def test_an_interruption_cancels(room):
    attempt = await room.running()
    await end(room, attempt, "execution_interrupted")
    row, _ = await entry_of(room, "a")
    assert row.state == "cancelled"
    assert room.listener.types()[-2:] == ["execution_interrupted", "done"]


async def test_a_blocked_branch_does_not_end_a_job(room):
    attempt = await room.running()
    await room.tell(attempt, "execution_error", exception_type="ExecutionBlocked")
    assert room.listener.types() == ["execution_start", "execution_error"]
    assert attempt.job.state is JobState.RUNNING
    await end(room, attempt)
    assert attempt.job.state is JobState.COMPLETED


async def test_outputs_that_were_missed_are_told_before_the_end(room):
    attempt = await room.running()
    await end(room, attempt, outputs={"9": PICTURE})
    assert room.listener.types() == ["execution_start", "executed", "execution_success", "done"]
    assert room.listener.messages[1].data == {
        "node": "9",
        "display_node": "9",
        "output": PICTURE,
        "prompt_id": "a",
    }


async def test_a_file_of_the_same_name_from_another_runner_gets_the_next_one(tmp_path):
    from support.room import PlayedRunner, jobs_room

    async with jobs_room(tmp_path, PlayedRunner("gpu-0"), PlayedRunner("gpu-1")) as room:
        first, second = await room.running("a", "gpu-0"), await room.running("b", "gpu-1")
        for attempt in (first, second):
            await room.tell(attempt, "executed", node="9", display_node="9", output=PICTURE)
            await end(room, attempt, outputs={"9": PICTURE})
        told = [message.data["output"] for message in room.listener.messages if message.type == "executed"]
        assert told == [PICTURE, ANOTHER]
        assert (await entry_of(room, "a"))[1]["outputs"] == {"9": PICTURE}
        assert (await entry_of(room, "b"))[1]["outputs"] == {"9": ANOTHER}


async def test_a_cached_output_keeps_the_name_it_has(room):
    first = await room.running("a")
    await room.tell(first, "executed", node="9", display_node="9", output=PICTURE)
    await end(room, first, outputs={"9": PICTURE})
    again = await room.running("b")
    await room.tell(again, "execution_cached", nodes=["9"], timestamp=1)
    await room.tell(again, "executed", node="9", display_node="9", output=PICTURE)
    await end(room, again, outputs={"9": PICTURE})
    assert (await entry_of(room, "b"))[1]["outputs"] == {"9": PICTURE}


async def test_ids_that_only_a_runner_knows_are_left_out(room):
    attempt = await room.running()
    output = {"images": [PICTURE["images"][0] | {"id": ASSET, "preview_id": ASSET}]}
    await room.tell(attempt, "executed", node="9", display_node="9", output=output)
    await end(room, attempt, outputs={"9": output})
    assert not any(ASSET in message.text for message in room.listener.messages)
    assert (await entry_of(room, "a"))[1]["outputs"] == {"9": PICTURE}


async def test_without_the_runners_history_the_events_tell(room):
    """It went down between the last event and the question."""
    attempt = await room.running()
    await room.tell(attempt, "executed", node="9", display_node="9", output=PICTURE)
    await room.tell(attempt, "execution_success", timestamp=2)
    room.runner.failure = RunnerUnreachable("gpu-0", "refused")
    await room.tell(attempt, "executing", node=None)
    assert room.listener.types() == ["execution_start", "executed", "execution_success", "done"]
    row, entry = await entry_of(room, "a")
    assert row.state == "completed"
    assert entry["outputs"] == {"9": PICTURE}
    assert [kind for kind, _ in entry["status"]["messages"]] == ["execution_start", "execution_success"]
    assert room.runner.suspicions == ["refused"]


async def test_an_end_that_nothing_tells_is_left_to_reconciling(room):
    attempt = await room.running()
    await room.tell(attempt, "executing", node=None)
    assert attempt.job.state is JobState.RUNNING
    assert room.listener.types() == ["execution_start"]


async def test_the_end_told_twice_is_one_end(room):
    attempt = await room.running()
    await end(room, attempt)
    told = list(room.listener.told)
    await room.tell(attempt, "executing", node=None)
    await room.reconciler.reconcile(room.runner)
    assert room.listener.told == told


async def test_messages_of_others_jobs_reach_nobody(room):
    await room.running()
    before = list(room.listener.told)
    foreign = messages.make("executing", {"node": "1", "prompt_id": "of-someone-else"})
    await room.follower.message(room.runner, foreign)
    assert room.listener.told == before


async def test_what_names_no_job_belongs_to_the_running_one(room):
    await room.held("b")
    await room.running("a")
    await room.follower.message(room.runner, messages.make("custom_node.said", {"text": "hello"}))
    await room.follower.message(room.runner, messages.make("executing", {"node": "9"}))
    assert room.listener.told[-1] == ("a", "custom_node.said")


async def test_what_came_early_under_another_id_is_told_in_order(room):
    """An old runner gives an id of its own, and begins before it has answered."""
    job = room.job("a")
    room.registry.add(job)
    attempt = room.registry.new_attempt(job, "gpu-0", probe=False)
    await room.registry.store_submission(job, attempt)
    for kind, data in (
        ("execution_start", {"timestamp": 1}),
        ("execution_cached", {"nodes": [], "timestamp": 1}),
        ("execution_success", {"timestamp": 2}),
    ):
        await room.follower.message(room.runner, messages.make(kind, {"prompt_id": "theirs", **data}))
    assert room.listener.told == []
    from support.room import history_of

    room.runner.history["theirs"] = history_of("theirs")
    await room.follower.message(room.runner, messages.executing(None, "theirs"))
    room.registry.answer_to_another_id(attempt, "theirs")
    await room.follower.answered_to_another_id(room.runner, attempt)
    assert room.listener.types() == ["execution_start", "execution_cached", "execution_success", "done"]
    assert job.state is JobState.COMPLETED


@pytest.mark.parametrize("mime", ["image/jpeg", "image/png"])
async def test_previews_are_told_under_the_clients_id(room, mime):
    attempt = await room.running()
    metadata = {"prompt_id": attempt.runner_prompt_id, "node_id": "9", "image_type": mime}
    await room.follower.binary(room.runner, frames.preview_frame_with_metadata(b"pixels", metadata))
    ((job_id, frame),) = room.listener.frames
    preview = frames.decode_preview(frame)
    assert job_id == "a"
    assert preview.metadata["prompt_id"] == "a"
    assert preview.image == b"pixels"
    assert (attempt.job.live.preview is not None) is (mime == "image/jpeg"), "a result is no preview to show again"


async def test_frames_without_an_id_belong_to_the_running_job(room):
    await room.held("b")
    await room.running("a")
    frame = frames.preview_frame(b"pixels", "image/jpeg")
    await room.follower.binary(room.runner, frame)
    assert room.listener.frames == [("a", frame)]


@pytest.mark.parametrize(
    "frame", [b"", b"\x00", b"\x00\x00\x00\x04\xff\xff\xff\xff", b"\x00\x00\x00\x04\x00\x00\x00\x02{]"]
)
async def test_broken_frames_are_dropped(room, frame):
    await room.running()
    await room.follower.binary(room.runner, frame)
    assert room.listener.frames == []


async def test_what_a_late_client_needs_is_kept(room):
    attempt = await room.running()
    await room.tell(attempt, "execution_cached", nodes=["1"], timestamp=1)
    await room.tell(attempt, "executing", node="2", display_node="2")
    await room.tell(attempt, "executed", node="2", display_node="2", output=PICTURE)
    await room.tell(attempt, "progress_state", nodes={"1": {}})
    await room.tell(attempt, "executing", node="9", display_node="9")
    await room.tell(attempt, "progress_state", nodes={"2": {}})
    kinds = [(message.type, message.data.get("node")) for message in attempt.job.live.messages()]
    assert kinds == [
        ("execution_start", None),
        ("execution_cached", None),
        ("executed", "2"),
        ("progress_state", None),
        ("executing", "9"),
    ]
    assert attempt.job.live.progress_state.data["nodes"] == {"2": {}}


@pytest.mark.parametrize("announced", [True, False])
async def test_progress_texts_are_told_in_the_long_form_under_the_clients_id(room, announced):
    await room.held("b")
    attempt = await room.running("not-a-uuid")
    room.runner.link.server_flags = {"supports_progress_text_metadata": announced}
    text = frames.ProgressText("9", "half", attempt.runner_prompt_id if announced else None)
    await room.follower.binary(room.runner, frames.progress_text_frame(text))
    ((job_id, told),) = room.listener.frames
    assert job_id == "not-a-uuid"
    assert frames.decode_progress_text(told, has_prompt_id=True) == frames.ProgressText("9", "half", "not-a-uuid")


async def test_an_output_of_a_runner_that_is_lost_meanwhile_is_not_told(room, monkeypatch):
    attempt = await room.running()
    public_names = room.endings.public_names

    async def lost_meanwhile(*args):
        room.endings.lost(attempt, "gone")
        return await public_names(*args)

    monkeypatch.setattr(room.endings, "public_names", lost_meanwhile)
    await room.tell(attempt, "executed", node="9", display_node="9", output=PICTURE)
    assert room.listener.types() == ["execution_start"]
    assert attempt.job.live.executed == []
