"""What a job needs, drawn from its graph, and whether a runner has it."""

import pytest

from gateway.comfyui import catalogue
from gateway.scheduling.needs import Needs, judge, needs_of, tags_fit


def info(required, module="nodes"):
    return {
        "input": {"required": required},
        "output": [],
        "output_node": False,
        "python_module": module,
        "name": "x",
    }


POOL = catalogue.parse(
    {
        "Loader": info({"ckpt": [["a.safetensors", "b.safetensors"], {}], "strength": ["FLOAT", {}]}),
        "LoadImage": info({"image": [["x.png"], {"image_upload": True}]}),
        "Many": info({"names": [["l", "m"], {"multiselect": True}]}),
    }
)
ONLY_A = catalogue.parse({"Loader": info({"ckpt": [["a.safetensors"], {}], "strength": ["FLOAT", {}]})})


def graph(**inputs):
    return {"1": {"class_type": "Loader", "inputs": inputs}}


def needs(prompt, *tags):
    return needs_of(prompt, frozenset(tags), POOL)


def test_classes_and_combo_values_are_needed():
    assert needs(graph(ckpt="a.safetensors", strength=0.5), "sdxl") == Needs(
        frozenset({"sdxl"}), frozenset({"Loader"}), frozenset({("Loader", "ckpt", "a.safetensors")})
    )


def test_links_uploads_and_unknown_inputs_are_not():
    prompt = graph(ckpt=["2", 0], other="a") | {"2": {"class_type": "LoadImage", "inputs": {"image": "mine.png"}}}
    assert needs(prompt).values == frozenset()
    assert needs(prompt).classes == {"Loader", "LoadImage"}


def test_every_choice_of_a_list_is_needed():
    prompt = {"1": {"class_type": "Many", "inputs": {"names": ["l", "m"]}}}
    assert needs(prompt).values == {("Many", "names", "l"), ("Many", "names", "m")}


@pytest.mark.parametrize(
    "prompt",
    [
        {},
        {"1": None},
        {"1": {"class_type": 3}},
        {"1": {"class_type": "Loader"}},
        {"1": {"class_type": "Loader", "inputs": None}},
        {"1": {"class_type": "Loader", "inputs": {"ckpt": {"a": 1}}}},
        {"1": {"class_type": "Loader", "inputs": {"ckpt": [[["a"]]]}}},
        {"1": {"class_type": "Loader", "inputs": {"ckpt": None}}},
    ],
)
def test_malformed_graphs_need_little_and_can_be_a_key(prompt):
    assert hash(needs(prompt)) == hash(needs(prompt))
    assert needs(prompt).values == frozenset()


@pytest.mark.parametrize(
    ("wanted", "offered", "fits"),
    [
        ("", "", True),
        ("", "sdxl", True),
        ("sdxl", "", True),
        ("sdxl", "sdxl a100", True),
        ("sdxl a100", "sdxl", False),
        ("flux", "sdxl", False),
    ],
)
def test_tags(wanted, offered, fits):
    assert tags_fit(frozenset(wanted.split()), frozenset(offered.split())) is fits


@pytest.mark.parametrize(
    ("prompt", "tags", "runners_tags", "reason"),
    [
        (graph(ckpt="a.safetensors"), "", "", ""),
        (graph(ckpt="b.safetensors"), "", "", "Loader.ckpt has no 'b.safetensors'"),
        ({"1": {"class_type": "Many", "inputs": {}}}, "", "", "lacks the node classes Many"),
        (graph(ckpt="a.safetensors"), "flux", "sdxl", "lacks the tags flux"),
    ],
)
def test_verdicts_say_why(prompt, tags, runners_tags, reason):
    verdict = judge(needs(prompt, *tags.split()), frozenset(runners_tags.split()), ONLY_A)
    assert verdict.reason == reason
    assert verdict.fits is (reason == "")


def test_an_unknown_catalogue_fits_as_far_as_tags_go():
    wanted = needs(graph(ckpt="b.safetensors"), "sdxl")
    assert judge(wanted, frozenset(), None).fits
    assert not judge(wanted, frozenset({"flux"}), None).fits
