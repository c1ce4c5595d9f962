"""Comfy Cloud's forms of history entries and of a job's status."""

import pytest

from gateway.comfyui import cloud

GRAPH = {"1": {"class_type": "SaveImage", "inputs": {}}}
INFO = {"workflow": {"id": "w", "nodes": []}, "more": 1}
ENTRY = {
    "prompt": [4, "p", GRAPH, {"extra_pnginfo": INFO, "create_time": 5, "client_id": "c"}, ["1"]],
    "outputs": {"1": {"images": []}},
    "status": {"status_str": "success", "completed": True, "messages": []},
    "meta": {},
}


def test_an_entry_has_its_prompt_as_an_object():
    told = cloud.entry(ENTRY)
    assert told["prompt"] == {
        "priority": 4,
        "prompt_id": "p",
        "prompt": GRAPH,
        "extra_data": ENTRY["prompt"][3],
        "outputs_to_execute": ["1"],
    }
    assert {name: told[name] for name in ("outputs", "status", "meta")} == {
        name: ENTRY[name] for name in ("outputs", "status", "meta")
    }


def test_a_list_leaves_out_graphs_and_workflows():
    told = cloud.listed(ENTRY, "p")
    assert (told["prompt_id"], told["create_time"], told["workflow_id"]) == ("p", 5, "w")
    assert told["prompt"] == {
        "priority": 4,
        "prompt_id": "p",
        "extra_data": {"extra_pnginfo": {"more": 1}, "create_time": 5, "client_id": "c"},
    }
    assert ENTRY["prompt"][3]["extra_pnginfo"] == INFO, "the entry stays as it is"


@pytest.mark.parametrize("extra_data", [None, {}, {"extra_pnginfo": None}, {"extra_pnginfo": {"workflow": None}}])
def test_entries_without_metadata(extra_data):
    told = cloud.listed({**ENTRY, "prompt": [4, "p", GRAPH, extra_data, []]}, "p")
    assert "workflow_id" not in told
    assert "create_time" not in told


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("pending", "queued_waiting"),
        ("in_progress", "executing"),
        ("completed", "success"),
        ("failed", "error"),
        ("cancelled", "cancelled"),
    ],
)
def test_statuses(status, told):
    assert cloud.job_status({"id": "p", "status": status}, None)["status"] == told


def test_times_and_words_of_a_failure():
    detail = {
        "id": "p",
        "status": "failed",
        "create_time": 1_700_000_000_123,
        "execution_start_time": 1_700_000_001_000,
        "execution_end_time": 1_700_000_002_500,
        "execution_error": {"exception_message": "out of luck"},
    }
    assert cloud.job_status(detail, "gpu-0") == {
        "id": "p",
        "status": "error",
        "created_at": "2023-11-14T22:13:20.123Z",
        "updated_at": "2023-11-14T22:13:22.500Z",
        "last_state_update": "2023-11-14T22:13:22.500Z",
        "assigned_inference": "gpu-0",
        "error_message": "out of luck",
    }
    waiting = cloud.job_status({"id": "p", "status": "pending", "create_time": 1_700_000_000_000}, None)
    assert waiting["updated_at"] == waiting["created_at"]
