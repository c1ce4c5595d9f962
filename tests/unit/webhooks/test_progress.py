import asyncio

import pytest

from gateway.clock import Clock
from gateway.comfyui import messages
from gateway.webhooks.progress import Tracker, progress_of


def state(**nodes):
    return messages.make("progress_state", {"prompt_id": "p", "nodes": nodes})


def node(state_, value=0, most=1):
    return {"state": state_, "value": value, "max": most}


def test_progress_counts_nodes_and_the_part_of_the_one_that_runs():
    told = progress_of(state(a=node("finished", 1), b=node("running", 5, 20), c=node("pending")), 4)
    assert told == {
        "value": 0.3125,
        "nodes_done": 1,
        "nodes": 4,
        "node_id": "b",
        "node_value": 5,
        "node_max": 20,
    }
    assert progress_of(state(), 4)["value"] == 0


@pytest.mark.parametrize("broken", [None, [], {"a": 1}, {"a": {"state": "running", "value": "x", "max": 0}}])
def test_what_is_broken_is_no_fault(broken):
    told = progress_of(messages.make("progress_state", {"nodes": broken}), 2)
    assert told is None or told["value"] == 0


def test_other_messages_tell_nothing():
    assert progress_of(messages.make("executing", {"node": "1"}), 2) is None


class FakeJob:
    id = "job"
    prompt = dict.fromkeys("abcd")


async def test_the_newest_is_told_late_rather_than_never():
    told, heard = [], asyncio.Event()

    def tell(_job, progress):
        told.append(progress["nodes_done"])
        heard.set()

    tracker = Tracker(Clock(), 0.05, tell)
    for done in range(4):
        tracker.heard(FakeJob, state(**{name: node("finished", 1) for name in "abcd"[:done]}))
    assert told == [0]
    heard.clear()
    await asyncio.wait_for(heard.wait(), 5)
    assert told == [0, 3]


async def test_nothing_is_told_of_what_is_forgotten():
    told = []
    tracker = Tracker(Clock(), 0.01, lambda _job, progress: told.append(progress))
    tracker.heard(FakeJob, state(a=node("running")))
    tracker.heard(FakeJob, state(a=node("finished")))
    tracker.forget("job")
    tracker.close()
    ticked = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.05, ticked.set_result, None)
    await ticked
    assert len(told) == 1
