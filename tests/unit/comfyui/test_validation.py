import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.comfyui import catalogue, validation

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
IDS = st.sampled_from(["1", "2", "3", "4", "5"])
LINKS = st.tuples(IDS, st.integers(0, 2)).map(list)
NODES = st.fixed_dictionaries(
    {"class_type": st.sampled_from(["EmptyImage", "ImageInvert", "SaveImage", "CheckpointLoaderSimple"])},
    optional={"inputs": st.dictionaries(st.sampled_from(["image", "images", "ckpt_name", "x"]), LINKS | JSON)},
)

INFO: dict[str, Any] = {
    "EmptyImage": {"input": {"required": {name: ["INT", {}] for name in ("width", "height", "batch_size", "color")}}},
    "ImageInvert": {"input": {"required": {"image": ["IMAGE"]}}},
    "ProgressProbe": {
        "input": {
            "required": {
                "image": ["IMAGE"],
                **{name: ["INT", {}] for name in ("steps", "seconds", "seed", "fail_at")},
            }
        }
    },
    "CheckpointLoaderSimple": {
        "input": {"required": {"ckpt_name": [[], {"tooltip": "The name of the checkpoint (model) to load."}]}}
    },
    "VAEDecode": {"input": {"required": {"samples": ["LATENT"], "vae": ["VAE"]}}},
    "LoadImage": {"input": {"required": {"image": [["a.png"], {"image_upload": True}]}}},
    "PreviewImage": {"input": {"required": {"images": ["IMAGE"]}}, "output_node": True},
    "SaveImage": {
        "input": {"required": {"images": ["IMAGE"], "filename_prefix": ["STRING", {}]}},
        "output_node": True,
    },
}
CATALOGUE = catalogue.parse(INFO)


def check(prompt: Any, targets: Any = None, *catalogues: catalogue.Catalogue) -> Any:
    return validation.check(prompt, targets, catalogues or [CATALOGUE])


def without_traces(value: Any) -> Any:
    """A recorded answer without the lines of ComfyUI's own code."""
    if isinstance(value, dict):
        return {key: [] if key == "traceback" else without_traces(item) for key, item in value.items()}
    return [without_traces(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "scenario",
    [
        "invalid_empty_prompt",
        "invalid_no_outputs",
        "invalid_unknown_class",
        "invalid_missing_class_type",
        "invalid_missing_input",
        "invalid_bad_link",
    ],
)
def test_refusals_are_the_recorded_ones(new: dict[str, Any], scenario: str) -> None:
    recorded = new[scenario]
    error, node_errors, outputs = check(recorded["request"]["json"]["prompt"])
    assert {"error": error, "node_errors": node_errors} == without_traces(recorded["json"])
    assert outputs == []


def test_a_value_that_no_runner_has(new: dict[str, Any]) -> None:
    recorded = new["invalid_value_not_in_list"]
    error, node_errors, _ = check(recorded["request"]["json"]["prompt"])
    assert error == recorded["json"]["error"]
    assert node_errors["1"] == recorded["json"]["node_errors"]["1"]


def test_partly_valid_prompts_are_accepted(new: dict[str, Any]) -> None:
    recorded = new["partly_valid_two_outputs"]
    error, node_errors, outputs = check(recorded["request"]["json"]["prompt"])
    assert error is None
    assert node_errors == recorded["json"]["node_errors"]
    assert outputs == ["3"]


def test_what_ran_when_recorded_is_accepted(recording: dict[str, Any]) -> None:
    accepted = [
        name for name, scenario in recording.items() if name.startswith("prompt_") and scenario["status"] == 200
    ]
    for name in accepted:
        request = recording[name].get("request", {}).get("json") or {}
        if "prompt" in request:
            targets = request.get("partial_execution_targets")
            error, node_errors, outputs = check(request["prompt"], targets)
            assert (error, node_errors) == (None, {})
            for entry in recording[name].get("history", {}).values():
                assert sorted(outputs) == sorted(entry["prompt"][4])
            assert validation.check(request["prompt"], targets, [])[0] is None


def test_what_only_a_runner_knows_is_left_to_it(new: dict[str, Any]) -> None:
    for scenario in ("invalid_out_of_range", "invalid_type_mismatch", "invalid_load_image_missing"):
        assert check(new[scenario]["request"]["json"]["prompt"])[0] is None


IMAGE = {"class_type": "EmptyImage", "inputs": {"width": 1, "height": 1, "batch_size": 1, "color": 0}}


def save(images: Any) -> dict[str, Any]:
    return {"class_type": "SaveImage", "inputs": {"images": images, "filename_prefix": "x"}}


def invert(image: Any) -> dict[str, Any]:
    return {"class_type": "ImageInvert", "inputs": {"image": image}}


def test_targets() -> None:
    prompt = {"1": IMAGE, "2": save(["1", 0]), "3": save(["1", 0])}
    assert check(prompt)[2] == ["2", "3"]
    assert check(prompt, ["3"])[2] == ["3"]
    assert check(prompt, [])[0]["type"] == "prompt_no_outputs"
    assert check(prompt, ["1"])[0]["type"] == "prompt_no_outputs"
    assert check(prompt, "odd")[2] == ["2", "3"]


def test_cycles() -> None:
    error, node_errors, _ = check({"1": invert(["2", 0]), "2": invert(["1", 0]), "3": save(["2", 0])})
    assert error["type"] == "prompt_outputs_failed_validation"
    assert node_errors.keys() == {"1", "2"}
    found = node_errors["1"]["errors"][0]
    assert found["type"] == "dependency_cycle"
    assert found["details"] == "2 (ImageInvert) -> 1 (ImageInvert) -> 2 (ImageInvert)"
    assert found["extra_info"] == {"node_id": "1", "cycle_nodes": ["2", "1"]}
    assert node_errors["1"]["dependent_outputs"] == ["3"]


def test_links_that_lead_nowhere_behind_an_output() -> None:
    error, node_errors, _ = check({"1": invert(["9", 0]), "3": save(["1", 0])})
    assert error["details"] == ""
    found = node_errors["1"]["errors"][0]
    assert (found["type"], found["details"]) == ("exception_during_inner_validation", "'9'")
    assert found["extra_info"]["input_name"] == "images"
    assert found["extra_info"]["linked_node"] == ["1", 0]


def test_a_node_without_inputs() -> None:
    _, node_errors, _ = check({"3": {"class_type": "SaveImage"}})
    assert node_errors["3"]["errors"][0]["details"] == "'inputs'"


def test_lists_that_are_no_links() -> None:
    _, node_errors, _ = check({"3": save(["1", 0, 0])})
    assert node_errors["3"]["errors"][0]["type"] == "bad_linked_input"


def test_long_lists_are_only_counted() -> None:
    info = {"Save": {"input": {"required": {"n": [list(range(21)), {}]}}, "output_node": True}}
    _, node_errors, _ = check({"1": {"class_type": "Save", "inputs": {"n": "x"}}}, None, catalogue.parse(info))
    found = node_errors["1"]["errors"][0]
    assert found["details"] == "n: 'x' not in (list of length 21)"
    assert found["extra_info"]["input_config"] is None


def test_inputs_that_the_class_does_not_know_are_not_looked_at() -> None:
    prompt = {"1": IMAGE, "2": save(["1", 0])}
    prompt["2"]["inputs"]["unknown"] = ["9", 0]
    assert check(prompt)[0] is None


def test_what_one_catalogue_takes_is_accepted() -> None:
    prompt = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a"}},
        "2": {"class_type": "VAEDecode", "inputs": {"samples": ["1", 0], "vae": ["1", 2]}},
        "3": save(["2", 0]),
    }
    having = catalogue.parse(INFO | {"CheckpointLoaderSimple": {"input": {"required": {"ckpt_name": [["a"]]}}}})
    lacking = catalogue.parse({"SaveImage": INFO["SaveImage"]})
    assert check(prompt, None, CATALOGUE)[0] is not None
    assert check(prompt, None, lacking, CATALOGUE, having) == (None, {}, ["3"])
    refused, node_errors, _ = check(prompt, None, lacking, CATALOGUE)
    assert refused["type"] == "prompt_outputs_failed_validation", "the catalogue that gets furthest has the word"
    assert node_errors.keys() == {"1"}
    assert check(prompt, None, lacking)[0]["type"] == "missing_node_type"


def test_titles_are_shown() -> None:
    error = check({"1": {"class_type": "Nope", "_meta": {"title": "My node"}}})[0]
    assert error["message"].startswith("Node 'My node' not found.")
    assert error["extra_info"] == {"node_id": "1", "class_type": "Nope", "node_title": "My node"}
    assert check({"1": {"_meta": {"title": "My node"}}})[0]["message"].startswith("Node 'My node' has no class_type.")


class TestWithoutAnyCatalogue:
    def judge(self, prompt: Any, targets: Any = None) -> Any:
        return validation.check(prompt, targets, [])

    def test_a_sound_graph_is_accepted(self) -> None:
        assert self.judge({"1": IMAGE, "2": save(["1", 0])}) == (None, {}, ["2"])

    def test_any_node_may_be_an_output(self) -> None:
        error, _, outputs = self.judge({"1": save("x"), "2": invert(["1", 0]), "3": invert(["9", 0])}, ["1"])
        assert (error, outputs) == (None, ["1"])
        error, _, outputs = self.judge(
            {"1": save("x"), "3": {"class_type": "Join", "inputs": {"a": ["9", 0], "b": ["1", 0]}}}
        )
        assert (error, outputs) == (None, ["1"])

    def test_graphs_that_no_server_takes(self) -> None:
        assert self.judge({})[0]["type"] == "prompt_no_outputs"
        assert self.judge([])[0]["type"] == "prompt_no_outputs"
        assert self.judge({"1": None})[0]["type"] == "missing_node_type"
        assert self.judge({"1": invert(["9", 0])})[0]["type"] == "prompt_outputs_failed_validation"
        assert self.judge({"1": invert(["1", 0])})[1]["1"]["errors"][0]["type"] == "dependency_cycle"


@given(st.dictionaries(IDS, NODES | JSON), JSON)
def test_no_prompt_is_too_odd(prompt: Any, targets: Any) -> None:
    for catalogues in ([], [CATALOGUE], [CATALOGUE, catalogue.parse({})]):
        error, node_errors, outputs = validation.check(prompt, targets, catalogues)
        assert (error is None) == bool(outputs)
        assert set(outputs) | set(node_errors) <= set(prompt)
        assert not set(outputs) & set(node_errors)


@given(st.dictionaries(IDS, NODES))
def test_more_catalogues_never_refuse_more(prompt: Any) -> None:
    one = validation.check(prompt, None, [CATALOGUE])[0]
    two = validation.check(prompt, None, [catalogue.parse({}), CATALOGUE])[0]
    assert (one is None) <= (two is None)


def test_long_chains_and_huge_broken_graphs_are_answered_soon() -> None:
    chain: dict[str, Any] = {"0": IMAGE}
    chain |= {str(number): invert([str(number - 1), 0]) for number in range(1, 20_000)}
    chain["end"] = save(["19999", 0])
    assert check(chain)[0] is None
    broken = {str(number): invert(["gone", 0]) for number in range(20_000)}
    knot = {
        str(number): {"class_type": "X", "inputs": {str(to): [str(to), 0] for to in range(300)}}
        for number in range(300)
    }
    started = time.perf_counter()
    assert len(validation.check(broken, None, [])[1]) == 20_000
    assert len(validation.check(knot, None, [])[1]) == 300
    assert time.perf_counter() - started < 20, "not the square of their size"
