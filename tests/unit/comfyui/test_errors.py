from typing import Any

from gateway.comfyui import errors


def test_no_prompt_is_the_recorded_one(recording: dict[str, Any]) -> None:
    assert errors.no_prompt() == recording["invalid_no_prompt"]["json"]


def test_every_body_is_the_envelope(new: dict[str, Any]) -> None:
    envelope = new["prompt_client_supplied_id_not_uuid"]["json"]
    for body in (
        errors.no_prompt(),
        errors.invalid_prompt_id(),
        errors.duplicate_prompt_id("x"),
        errors.no_runner_available("all are busy", {"runners": 3}),
        errors.queue_full(100),
    ):
        assert list(body) == list(envelope)
        assert list(body["error"]) == list(envelope["error"])
        assert body["node_errors"] == {}


def test_the_type_of_a_bad_id_is_comfyuis(new: dict[str, Any]) -> None:
    assert (
        errors.invalid_prompt_id()["error"]["type"]
        == new["prompt_client_supplied_id_not_uuid"]["json"]["error"]["type"]
    )


def test_node_errors_are_passed_on() -> None:
    assert errors.error_body("t", "m", node_errors={"1": {}})["node_errors"] == {"1": {}}
