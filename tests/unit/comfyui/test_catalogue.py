from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.comfyui import catalogue
from gateway.comfyui.catalogue import ComboInput, Missing

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=10,
)

INFO = {
    "Loader": {
        "input": {
            "required": {
                "model": [["a.safetensors", 1, True], {}],
                "strength": ["FLOAT", {}],
                "grow": ["COMFY_AUTOGROW_V3", {}],
            },
            "optional": {
                "vae": ["COMBO", {"options": ["v"]}],
                "tags": ["COMBO", {"options": ["x", "y"], "multiselect": True}],
            },
        },
        "python_module": "nodes",
        "output_node": False,
    },
    "LoadImage": {"input": {"required": {"image": [["known.png"], {"image_upload": True}]}}},
    "Remote": {"input": {"required": {"image": ["COMBO", {"options": [], "remote": {"route": "/x"}}]}}},
    "Save": {"input": {"required": {"images": ["IMAGE"]}}, "output_node": True},
}
CATALOGUE = catalogue.parse(INFO)


def missing(class_type: str, **inputs: Any) -> list[Missing]:
    return catalogue.missing_from(CATALOGUE, {"1": {"class_type": class_type, "inputs": inputs}})


def test_classes() -> None:
    loader = CATALOGUE.classes["Loader"]
    assert loader.required == {"model", "strength"}
    assert loader.inputs == ("model", "strength", "grow", "vae", "tags")
    assert list(loader.combos) == ["model", "vae", "tags"]
    assert (loader.python_module, loader.output_node) == ("nodes", False)
    assert CATALOGUE.classes["Save"].output_node
    assert loader.combos["model"] == ComboInput(("a.safetensors", 1, True))


def test_recorded_definitions(recording: dict[str, Any]) -> None:
    parsed = catalogue.parse(recording["get /object_info/LoadImage"]["json"])
    assert parsed.classes["LoadImage"].combos["image"].is_upload
    assert catalogue.parse(recording["get /object_info/SaveImage"]["json"]).classes["SaveImage"].output_node


def test_a_class_that_is_missing() -> None:
    assert missing("Nope", model="x") == [Missing("1", "Nope", None, None)]


@pytest.mark.parametrize(
    ("inputs", "refused"),
    [
        ({"model": "a.safetensors", "vae": "v"}, []),
        ({"model": "b.safetensors", "vae": "w"}, [("model", "b.safetensors"), ("vae", "w")]),
        ({"model": 1, "strength": "anything", "unknown": "x"}, []),
        ({"model": ["2", 0]}, []),
        ({"model": {"__value__": "a.safetensors"}}, []),
        ({"model": {"odd": 1}}, [("model", {"odd": 1})]),
        ({"tags": {"__value__": ["x", "z"]}}, [("tags", "z")]),
        ({"model": None}, [("model", None)]),
    ],
)
def test_combo_values(inputs: dict[str, Any], refused: list[tuple[str, Any]]) -> None:
    assert [(found.input, found.value) for found in missing("Loader", **inputs)] == refused


def test_uploads_and_remote_lists_are_no_constraint() -> None:
    assert missing("LoadImage", image="new.png") == []
    assert missing("Remote", image="new.png") == []


def test_what_the_gateway_provides_is_not_missing() -> None:
    prompt = {"1": {"class_type": "Loader", "inputs": {"model": "clip.mp4", "vae": {}}}}
    assert [found.input for found in catalogue.missing_from(CATALOGUE, prompt, provided={"clip.mp4"})] == ["vae"]


@given(JSON, JSON)
def test_odd_answers_and_prompts_do_not_raise(info: Any, prompt: Any) -> None:
    parsed = catalogue.parse(info if isinstance(info, dict) else {"Loader": info, "LoadImage": {"input": info}})
    catalogue.missing_from(parsed, prompt)
    catalogue.missing_from(CATALOGUE, {"1": {"class_type": "Loader", "inputs": prompt}, "2": prompt})


@given(st.sampled_from(["model", "vae", "tags"]), JSON)
def test_any_value_can_be_looked_up(name: str, value: Any) -> None:
    assert isinstance(missing("Loader", **{name: value}), list)


@given(st.lists(JSON), JSON)
def test_lookups_agree_with_comfyuis_in(options: list[Any], value: Any) -> None:
    assert ComboInput(tuple(options)).accepts(value) == (value in options)
