import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.comfyui import messages
from gateway.comfyui.messages import Message

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)


def same(message: Message, recorded: dict[str, Any]) -> None:
    """Equal to a recorded message in values and in the order of keys."""
    assert json.dumps(json.loads(message.text)) == json.dumps(recorded)
    assert json.dumps({"type": message.type, "data": message.data}) == json.dumps(recorded)


def recorded_of(recording: dict[str, Any], frames_in: Any, kind: str) -> list[dict[str, Any]]:
    return [frame["text"] for frame in frames_in(recording) if frame.get("text", {}).get("type") == kind]


@given(st.text())
def test_parse_never_raises_on_text(text: str) -> None:
    assert messages.parse(text) is None or isinstance(messages.parse(text), Message)


@given(JSON)
def test_parse_never_raises_on_json(value: Any) -> None:
    parsed = messages.parse(json.dumps({"type": "x", "data": value}))
    assert (parsed is not None) == isinstance(value, dict)
    assert messages.parse(json.dumps(value)) is None or isinstance(value, dict)


@pytest.mark.parametrize("text", ['{"type":1,"data":{}}', '{"type":"x"}', '{"data":{}}', "[]", "null", "[" * 99_999])
def test_other_shapes_are_no_messages(text: str) -> None:
    assert messages.parse(text) is None


def test_text_stays_as_it_came() -> None:
    text = '{"type": "crystools.monitor",  "data": {"cpu": NaN}}'
    parsed = messages.parse(text)
    assert parsed is not None
    assert parsed.text is text
    assert messages.with_prompt_id(parsed, "p") is parsed


def test_every_recorded_message_can_be_told_as_another_jobs(recording: dict[str, Any], frames_in: Any) -> None:
    texts = [frame["text"] for frame in frames_in(recording) if "text" in frame]
    assert len(texts) > 300
    for recorded in texts:
        parsed = messages.parse(json.dumps(recorded))
        assert parsed is not None
        runners = messages.prompt_id_of(parsed)
        told = messages.with_prompt_id(parsed, "client-id")
        if runners is None:
            assert told is parsed
            continue
        assert messages.prompt_id_of(told) == "client-id"
        assert runners not in told.text
        same(told, json.loads(json.dumps(recorded).replace(runners, "client-id")))
        assert messages.with_prompt_id(told, "client-id") is told
        assert parsed.data == recorded["data"], "the message itself must not change"


def test_status_is_the_recorded_one(recording: dict[str, Any], frames_in: Any) -> None:
    for recorded in recorded_of(recording, frames_in, "status"):
        remaining = recorded["data"]["status"]["exec_info"]["queue_remaining"]
        same(messages.status(remaining, recorded["data"].get("sid")), recorded)


def test_executing_is_the_recorded_one(recording: dict[str, Any], frames_in: Any) -> None:
    shapes = set()
    for recorded in recorded_of(recording, frames_in, "executing"):
        data = recorded["data"]
        shapes.add(tuple(data))
        same(messages.executing(data["node"], data.get("prompt_id"), data.get("display_node")), recorded)
    assert shapes == {("node", "display_node", "prompt_id"), ("node", "prompt_id"), ("node",)}


def test_beginnings_and_ends_are_the_recorded_ones(recording: dict[str, Any], frames_in: Any) -> None:
    for builder in (
        messages.execution_start,
        messages.execution_cached,
        messages.execution_success,
        messages.execution_error,
        messages.execution_interrupted,
    ):
        found = recorded_of(recording, frames_in, builder.__name__)
        assert found
        for recorded in found:
            same(builder(**recorded["data"]), recorded)


def test_feature_flags_are_the_recorded_ones(recording: dict[str, Any], frames_in: Any) -> None:
    for recorded in recorded_of(recording, frames_in, "feature_flags"):
        same(messages.feature_flags(recorded["data"]), recorded)


def test_ends_have_all_fields_without_being_given_them() -> None:
    error = messages.execution_error("p", exception_type="RunnerLost", exception_message="gone", timestamp=5)
    assert error.data["traceback"] == []
    assert error.data["current_inputs"] == {}
    assert messages.execution_interrupted("p", timestamp=5).data["executed"] == []


def test_terminal_messages() -> None:
    assert messages.is_terminal(messages.execution_success("p", 1))
    assert messages.is_terminal(messages.execution_interrupted("p", timestamp=1))
    assert messages.is_terminal(messages.make("execution_error", {"exception_type": "RuntimeError"}))
    assert not messages.is_terminal(messages.make("execution_error", {"exception_type": "ExecutionBlocked"}))
    assert not messages.is_terminal(messages.executing(None, "p"))


@pytest.mark.parametrize("prompt_id", [None, 5, [], {}])
def test_an_id_that_is_no_string_is_none(prompt_id: Any) -> None:
    assert messages.prompt_id_of(messages.make("x", {"prompt_id": prompt_id})) is None


@given(st.dictionaries(st.text(max_size=9), JSON, max_size=4))
def test_rewriting_never_raises(nodes: dict[str, Any]) -> None:
    message = messages.make("progress_state", {"prompt_id": "a", "nodes": nodes})
    told = messages.with_prompt_id(message, "b")
    assert told.data["nodes"].keys() == nodes.keys()


@pytest.mark.parametrize("depth", [200, 900, 990])
def test_deep_messages_are_told_too(depth: int) -> None:
    text = '{"type":"x","data":{"prompt_id":"a-b","deep":' + "[" * depth + "]" * depth + "}}"
    parsed = messages.parse(text)
    assert parsed is not None
    assert messages.with_prompt_id(parsed, "c").text == text.replace("a-b", "c")
