"""Rules that the recordings do not show; the others are in the replay."""

from pathlib import Path
from typing import Any

import pytest

from gateway.simulator.catalogue import Catalogue
from gateway.simulator.folders import Folders
from gateway.simulator.validation import validate_prompt

IMAGE = {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}}


@pytest.fixture(params=[True, False])
def catalogue(request: pytest.FixtureRequest, tmp_path: Path) -> Catalogue:
    many = tuple(f"{number}.safetensors" for number in range(21))
    return Catalogue(modern=request.param, extra=(), models={"checkpoints": many}, folders=Folders(tmp_path))


def preview(source: Any) -> dict[str, Any]:
    return {"class_type": "PreviewImage", "inputs": {"images": source}}


def only_error(prompt: Any, catalogue: Catalogue, node: str) -> dict[str, Any]:
    verdict = validate_prompt(prompt, None, catalogue)
    [error] = verdict.node_errors[node]["errors"]
    return error


def test_values_are_converted_in_the_prompt(catalogue: Catalogue) -> None:
    prompt = {"1": {**IMAGE, "inputs": {**IMAGE["inputs"], "width": "8", "height": 8.0}}, "2": preview(["1", 0])}
    assert validate_prompt(prompt, None, catalogue).outputs == ["2"]
    assert prompt["1"]["inputs"]["width"] == 8
    assert type(prompt["1"]["inputs"]["height"]) is int


def test_what_cannot_be_converted(catalogue: Catalogue) -> None:
    prompt = {"1": {**IMAGE, "inputs": {**IMAGE["inputs"], "width": "wide"}}, "2": preview(["1", 0])}
    assert only_error(prompt, catalogue, "1")["type"] == "invalid_input_type"


def test_a_link_must_have_two_parts(catalogue: Catalogue) -> None:
    assert only_error({"2": preview(["1", 0, 0])}, catalogue, "2")["type"] == "bad_linked_input"


def test_long_lists_are_not_told_back(catalogue: Catalogue) -> None:
    prompt = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "nope"}},
        "2": {"class_type": "EmptyLatentImage", "inputs": {"width": 16, "height": 16, "batch_size": 1}},
        "3": {"class_type": "VAEDecode", "inputs": {"samples": ["2", 0], "vae": ["1", 2]}},
        "4": preview(["3", 0]),
    }
    error = only_error(prompt, catalogue, "1")
    assert error["extra_info"]["input_config"] is None
    assert error["details"] == "ckpt_name: 'nope' not in (list of length 21)"


def test_a_circle(catalogue: Catalogue) -> None:
    prompt = {
        "1": {"class_type": "ImageInvert", "inputs": {"image": ["2", 0]}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": preview(["1", 0]),
    }
    verdict = validate_prompt(prompt, None, catalogue)
    kinds = {error["type"] for node in verdict.node_errors.values() for error in node["errors"]}
    assert verdict.error is not None
    assert kinds == ({"dependency_cycle"} if catalogue.modern else {"exception_during_inner_validation"})


@pytest.mark.parametrize("targets", [[], ["1"], ["unknown"]])
def test_targets_that_are_no_outputs(catalogue: Catalogue, targets: list[str]) -> None:
    verdict = validate_prompt({"1": IMAGE, "2": preview(["1", 0])}, targets, catalogue)
    assert verdict.error is not None
    assert verdict.error["type"] == "prompt_no_outputs"


@pytest.mark.parametrize("prompt", [None, "text", 5, {"1": None}, [1]])
def test_what_is_no_graph_raises(catalogue: Catalogue, prompt: Any) -> None:
    with pytest.raises((TypeError, IndexError)):
        validate_prompt(prompt, None, catalogue)
