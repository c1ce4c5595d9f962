"""Ends that were stored and not told are told by the next life of the gateway."""

from support.room import NOW_MS, Listener, history_of

from gateway.comfyui import messages
from gateway.jobs import retold
from gateway.storage import jobs as job_rows

OUTPUTS = {"9": {"images": [{"filename": "a.png", "subfolder": "", "type": "output"}]}}


async def end(room, job_id="a", **more):
    attempt = await room.running(job_id, **more)
    room.finish(attempt, outputs=OUTPUTS)
    await room.tell(attempt, "execution_success", timestamp=2)
    await room.tell(attempt, "executing", node=None)
    await room.endings.settled()
    return attempt.job


async def retell(room, *, seconds_later=0):
    """What the next life of the gateway tells at its start."""
    await room.db.flushed()
    listener = Listener()
    await retold.retell(room.db, listener, now=NOW_MS + seconds_later * 1000)
    return listener


async def test_an_untold_end_is_told_whole_and_in_order(room):
    await end(room, "a")
    await end(room, "b")
    listener = await retell(room)
    assert listener.told == [(job_id, kind) for job_id in "ab" for kind in ("executed", "execution_success", "done")]
    assert listener.messages[0].data["output"] == OUTPUTS["9"]
    assert listener.messages[2].text == messages.executing(None, "a").text


async def test_a_told_end_is_not_told_again(room):
    job = await end(room)
    room.db.write_behind(job_rows.update_job(job.id, told=True))
    assert (await retell(room)).told == []


async def test_an_end_that_nobody_waits_for_is_not_told(room):
    await end(room, client_id=None)
    dropped = await room.pending("b")
    room.endings.dropped(dropped, "gone")
    assert (await retell(room)).told == []


async def test_an_old_end_is_found_in_the_history_only(room):
    await end(room)
    assert (await retell(room, seconds_later=retold.UNTOLD_SECONDS - 1)).told
    assert (await retell(room, seconds_later=retold.UNTOLD_SECONDS + 1)).told == []


async def test_the_gateways_own_end_is_told_too(room):
    job = await room.pending()
    room.endings.failed(job, "RunnerLost", "lost")
    await room.endings.settled()
    assert (await retell(room)).types() == ["execution_error", "done"]


def test_an_entry_that_says_nothing_of_its_end():
    assert retold.terminal_of({"status": None}, "a") is None
    entry = history_of("theirs", end="execution_interrupted")
    assert retold.terminal_of(entry, "a").data["prompt_id"] == "a"
