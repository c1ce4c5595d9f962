import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.comfyui import graph
from gateway.comfyui.graph import FileReference, Link
from gateway.comfyui.names import AnnotatedName

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=15,
)
PROMPTS = st.dictionaries(
    st.text(max_size=3),
    JSON | st.fixed_dictionaries({"class_type": st.text() | JSON, "inputs": st.dictionaries(st.text(), JSON) | JSON}),
    max_size=4,
)

PROMPT = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "sub/a.png [output]", "upload": "image"}},
    "2": {"class_type": "Save", "inputs": {"images": ["1", 0], "n": 3, "list": ["b.png", "c.png"]}},
}


@given(JSON | PROMPTS)
def test_no_prompt_is_too_odd(prompt: Any) -> None:
    before = repr(prompt)
    graph.class_types(prompt)
    list(graph.nodes(prompt))
    references = graph.file_references(prompt)
    assert graph.replace_inputs(prompt, {("1", "x"): 1, ("", ""): 2}) is not None or prompt is None
    told = graph.replace_references(prompt, [(reference, "new.png") for reference in references])
    assert [found.value for found in graph.file_references(told)] == ["new.png"] * len(references)
    assert repr(prompt) == before


@pytest.mark.parametrize(
    "prompt", [None, [], "x", 5, {"1": None}, {"1": []}, {"1": {"inputs": {}}}, {"1": {"class_type": 5}}]
)
def test_what_is_no_node_is_skipped(prompt: Any) -> None:
    assert graph.class_types(prompt) == frozenset()
    assert list(graph.nodes(prompt)) == []
    assert graph.file_references(prompt) == []
    assert graph.replace_inputs(prompt, {("1", "a"): 1}) is prompt


def test_inputs_that_are_no_object_count_as_none() -> None:
    prompt = {"1": {"class_type": "A", "inputs": "x"}, "2": {"class_type": "B"}}
    assert graph.class_types(prompt) == {"A", "B"}
    assert [inputs for _, _, inputs in graph.nodes(prompt)] == [{}, {}]


@pytest.mark.parametrize(
    ("value", "link"),
    [
        (["1", 0], Link("1", 0)),
        (["1"], None),
        (["1", True], None),
        ([1, 0], None),
        (["a.png", "b.png"], None),
        ("1", None),
        (["1", 0, 0], None),
    ],
)
def test_links(value: Any, link: Link | None) -> None:
    assert graph.link_of(value) == link
    assert graph.is_link(value) == (link is not None)


def test_file_references() -> None:
    assert graph.file_references(PROMPT) == [
        FileReference("1", "image", "sub/a.png [output]", AnnotatedName("a.png", "sub", "output")),
        FileReference("1", "upload", "image", AnnotatedName("image", "", "input")),
        FileReference("2", "list", "b.png", AnnotatedName("b.png", "", "input"), (0,)),
        FileReference("2", "list", "c.png", AnnotatedName("c.png", "", "input"), (1,)),
    ]


@pytest.mark.parametrize(
    "text", ["", "two\nlines", "x" * 300, "a/" * 600 + "b", "../a.png", "/etc/passwd", "a\0.png", "a/"]
)
def test_texts_that_cannot_be_files(text: str) -> None:
    assert graph.file_references({"1": {"class_type": "A", "inputs": {"text": text}}}) == []


def test_names_with_odd_spaces_can_be_files() -> None:
    name = "Screenshot at 1.00.00\u202fPM.png"
    assert graph.file_references({"1": {"class_type": "A", "inputs": {"image": name}}})[0].file.filename == name


def test_deep_values_are_searched() -> None:
    value: Any = "a.png"
    for _ in range(5000):
        value = [value]
    assert len(graph.file_references({"1": {"class_type": "A", "inputs": {"x": value}}})) == 1


def test_replacing_copies_only_what_changes() -> None:
    before = copy.deepcopy(PROMPT)
    told = graph.replace_inputs(PROMPT, {("1", "image"): "b.png", ("1", "absent"): 1, ("9", "x"): 1})
    assert told["1"]["inputs"] == {"image": "b.png", "upload": "image"}
    assert told["2"] is PROMPT["2"]
    assert before == PROMPT
    assert graph.replace_inputs(PROMPT, {}) is PROMPT


def test_replacing_inside_lists() -> None:
    references = graph.file_references(PROMPT)
    told = graph.replace_references(
        PROMPT, [(references[2], "x.png"), (references[3], "y.png"), (references[0], "z.png")]
    )
    assert told["2"]["inputs"]["list"] == ["x.png", "y.png"]
    assert told["1"]["inputs"]["image"] == "z.png"
    assert PROMPT["2"]["inputs"]["list"] == ["b.png", "c.png"]


def test_inputs_that_name_other_files_than_before():
    sent = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "a.png", "seed": 1}},
        "2": {"class_type": "LoadImage", "inputs": {"image": "sub/b.png [output]", "list": ["c.png", 5, 6]}},
        "3": {"class_type": "Text", "inputs": {"text": "a cat", "other": "same.png"}},
        "4": {"class_type": "Gone", "inputs": {"image": "d.png"}},
    }
    became = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "a.0123.png", "seed": 2}},
        "2": {"class_type": "LoadImage", "inputs": {"image": "b_00002_.png [output]", "list": ["c.0123.png", 5, 6]}},
        "3": {"class_type": "Text", "inputs": {"text": "a dog", "other": "same.png"}},
    }
    assert graph.changed_files(sent, became) == {
        ("1", "image"): "a.png",
        ("2", "image"): "sub/b.png [output]",
        ("2", "list"): ["c.png", 5, 6],
    }
    for odd in (None, [], "a", {"1": None}, {"1": {"inputs": []}}):
        assert graph.changed_files(sent, odd) == {}
