"""Owners' marks on what writes files."""

from __future__ import annotations

import copy

import pytest

from gateway.comfyui import apart

HIDDEN = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}
DEFINITIONS = {
    "SaveImage": {"output_node": True, "input": {"required": {}, "hidden": HIDDEN}},
    "SaveNew": {"output_node": True, "input": {"hidden": {"extra_pnginfo": ["EXTRA_PNGINFO"]}}},
    "Show": {"output_node": True, "input": {"hidden": {"unique_id": "UNIQUE_ID"}}},
    "Sampler": {"output_node": False, "input": {"required": {}, "hidden": HIDDEN}},
    "Bare": {"output_node": True},
    "Odd": [],
}


def graph(*classes):
    return {str(number): {"class_type": name, "inputs": {"a": 1}} for number, name in enumerate(classes)}


def test_what_writes_its_graph_is_marked_and_nothing_else():
    prompt = graph("SaveImage", "SaveNew", "Show", "Sampler", "Bare", "Odd", "Unknown")
    before = copy.deepcopy(prompt)
    marked = apart.marked(prompt, DEFINITIONS, "x")
    assert prompt == before
    assert {node for node in marked if apart.MARK in marked[node]["inputs"]} == {"0", "1"}
    assert marked["0"]["inputs"] == {"a": 1, apart.MARK: "x"}
    assert apart.unmarked(marked) == before


def test_one_owner_has_one_mark():
    prompt = graph("SaveImage")
    assert apart.marked(prompt, DEFINITIONS, "x") == apart.marked(prompt, DEFINITIONS, "x")
    assert apart.marked(prompt, DEFINITIONS, "x") != apart.marked(prompt, DEFINITIONS, "y")


def test_nothing_to_mark_changes_nothing():
    prompt = graph("Sampler")
    assert apart.marked(prompt, DEFINITIONS, "x") is prompt
    assert apart.unmarked(prompt) is prompt


@pytest.mark.parametrize("prompt", [None, [], "a", {"1": None}, {"1": {"class_type": 5}}, {"1": {}}])
def test_what_is_no_graph_stays(prompt):
    assert apart.marked(prompt, DEFINITIONS, "x") is prompt
    assert apart.unmarked(prompt) is prompt


def test_a_writer_without_inputs_gets_some():
    marked = apart.marked({"1": {"class_type": "SaveImage", "inputs": None}}, DEFINITIONS, "x")
    assert marked == {"1": {"class_type": "SaveImage", "inputs": {apart.MARK: "x"}}}
