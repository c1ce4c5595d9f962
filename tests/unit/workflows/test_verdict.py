import json

import pytest

from gateway.comfyui import errors
from gateway.jobs.submission import Answer
from gateway.workflows.statuses import Status
from gateway.workflows.verdict import WORDS_MOST, Accepted, Later, Refusal, Refused, verdict_of

NODE_ERRORS = {"1": {"errors": [{"type": "value_not_in_list"}], "dependent_outputs": ["3"], "class_type": "A"}}


def answer(status, body=None, runner=None):
    return Answer(
        status, json.dumps(body or errors.error_body("some_type", "A message", "its details")).encode(), runner=runner
    )


def test_a_job_is_a_job_and_says_who_has_validated_it():
    assert verdict_of(Answer(200, b"{}", runner="gpu-0")) == Accepted(validated=True)
    assert verdict_of(Answer(200, b"{}")) == Accepted(validated=False)


@pytest.mark.parametrize("runner", ["gpu-0", None])
def test_a_400_is_a_fault_of_the_graph_with_the_runners_words(runner):
    body = errors.error_body("prompt_outputs_failed_validation", "Prompt failed", "", None, NODE_ERRORS)
    verdict = verdict_of(answer(400, body, runner))
    assert verdict == Refused(
        Status.INVALID, Refusal("prompt_outputs_failed_validation", "Prompt failed", "", NODE_ERRORS)
    )


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_runner_that_broke_down_over_it_is_a_failure(status):
    verdict = verdict_of(Answer(status, b"500 Internal Server Error", "text/plain", runner="gpu-0"))
    assert verdict == Refused(Status.FAILED, Refusal(f"http_{status}", "500 Internal Server Error"))


@pytest.mark.parametrize("status, runner", [(503, None), (500, None), (429, None), (429, "gpu-0"), (408, "gpu-0")])
def test_what_nobody_could_take_now_is_tried_again(status, runner):
    assert verdict_of(answer(status, runner=runner)) == Later("A message: its details")


def test_one_that_no_runner_could_ever_run_is_invalid_and_an_empty_pool_says_nothing():
    verdict = verdict_of(answer(503, errors.no_runner_available("gpu-0: lacks the tag sdxl")))
    assert verdict == Refused(
        Status.INVALID, Refusal("no_runner_available", "No runner is available", "gpu-0: lacks the tag sdxl")
    )
    assert verdict_of(answer(503, errors.no_runner_available())) == Later("No runner is available")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no JSON",
        b"[]",
        b"{}",
        b'{"error": null}',
        b'{"error": "text"}',
        b"\xff\xfe",
        b'{"error": {}}',
        b'{"error": [1]}',
        b"x" * 9_999,
    ],
)
def test_an_answer_of_any_shape_has_words(body):
    verdict = verdict_of(Answer(400, body, runner="gpu-0"))
    assert isinstance(verdict, Refused)
    assert 0 < len(verdict.refusal.words) <= WORDS_MOST
    assert verdict.refusal.node_errors == {}


def test_a_refusal_is_stored_and_read_whole():
    refusal = Refusal("type", "message", "details", NODE_ERRORS)
    assert Refusal.from_json(refusal.to_json()) == refusal


@pytest.mark.parametrize(
    "refusal, words",
    [
        (Refusal("t", "No prompt", ""), "No prompt"),
        (Refusal("t", "No prompt", "No prompt"), "No prompt"),
        (Refusal("t", "No prompt", "given"), "No prompt: given"),
    ],
)
def test_its_words_say_nothing_twice(refusal, words):
    assert refusal.words == words
