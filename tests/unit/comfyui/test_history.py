import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.comfyui import history, messages
from gateway.comfyui.outputs import OutputFile

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=10,
)
FIELDS = st.sampled_from(["prompt", "outputs", "status", "meta", "more"])


def same_name(file: OutputFile) -> OutputFile:
    return file


def test_secrets_are_not_public() -> None:
    extra_data = {"auth_token_comfy_org": "s", "api_key_comfy_org": "s", "client_id": "c"}
    assert history.public_extra_data(extra_data) == {"client_id": "c"}
    assert len(extra_data) == 3


@pytest.mark.parametrize("extra_data", [None, [], "x", 5])
def test_extra_data_that_is_no_object_is_empty(extra_data: object) -> None:
    assert history.public_extra_data(extra_data) == {}


def test_items_are_the_recorded_ones(new: dict[str, Any]) -> None:
    queue = new["queue_running_and_pending"]["json"]
    for recorded in queue["queue_running"] + queue["queue_pending"]:
        assert json.dumps(history.queue_item(*recorded)) == json.dumps(recorded)


def test_every_recorded_entry_can_be_told_as_the_gateways(recording: dict[str, Any], history_in: Any) -> None:
    entries = history_in(recording)
    assert len(entries) > 5
    for runners, entry in entries.items():
        before = copy.deepcopy(entry)
        extra_data = {"client_id": "client", "create_time": 5, "api_key_comfy_org": "secret"}
        told = history.rewrite_entry(
            entry, prompt_id="job", number=-3, prompt=None, extra_data=extra_data, rename=same_name
        )
        assert runners not in json.dumps(told)
        assert "secret" not in json.dumps(told)
        expected = json.loads(json.dumps(entry).replace(runners, "job"))
        expected["prompt"][0] = -3
        expected["prompt"][3] = {"client_id": "client", "create_time": 5}
        assert json.dumps(told) == json.dumps(expected)
        assert entry == before


def test_names_and_asset_ids(new: dict[str, Any], history_in: Any) -> None:
    entry = copy.deepcopy(history_in(new["prompt_ok_save"])[new["prompt_ok_save"]["json"]["prompt_id"]])
    entry["outputs"]["3"]["images"][0]["id"] = "8af87e5a-6787-4ddc-bc6f-4c8a39eec76a"
    client_prompt = {"1": {"class_type": "X", "inputs": {}}}
    told = history.rewrite_entry(
        entry,
        prompt_id="job",
        number=1,
        prompt=client_prompt,
        extra_data={},
        rename=lambda file: OutputFile("rec_00009_.png", file.subfolder, file.type),
    )
    assert told["outputs"]["3"]["images"] == [{"filename": "rec_00009_.png", "subfolder": "", "type": "output"}]
    assert told["prompt"][2] is client_prompt
    assert told["prompt"][3] == {"create_time": entry["prompt"][3]["create_time"]}, "the runner's, for want of another"


@given(st.dictionaries(FIELDS, JSON))
def test_odd_entries_do_not_raise(entry: dict[str, Any]) -> None:
    told = history.rewrite_entry(entry, prompt_id="job", number=1, prompt=None, extra_data=None, rename=same_name)
    assert told["prompt"][:2] == [1, "job"]
    assert list(told)[:4] == ["prompt", "outputs", "status", "meta"]


def test_made_entries_are_like_recorded_ones(recording: dict[str, Any], history_in: Any) -> None:
    for entry in history_in(recording).values():
        status = entry["status"]
        sent = [messages.make(kind, data) for kind, data in status["messages"]]
        made = history.made_entry(*entry["prompt"], entry["outputs"], sent, entry["meta"], status["completed"])
        assert json.dumps(made) == json.dumps(entry)
        again = history.made_entry(
            *entry["prompt"], entry["outputs"], status["messages"], entry["meta"], status["completed"]
        )
        assert again == made


@pytest.mark.parametrize(
    ("max_items", "offset", "shown"),
    [
        (None, -1, [1, 2, 3, 4]),
        (2, -1, [3, 4]),
        (9, -1, [1, 2, 3, 4]),
        (0, -1, []),
        (-1, -1, []),
        (None, 1, [2, 3, 4]),
        (2, 1, [2, 3]),
        (1, 0, [1]),
        (-1, 1, [2]),
        (2, 9, []),
    ],
)
def test_pages(max_items: int | None, offset: int, shown: list[int]) -> None:
    assert list(history.page([1, 2, 3, 4], max_items, offset)) == shown
