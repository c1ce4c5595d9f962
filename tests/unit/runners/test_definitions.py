"""Definitions of node classes: each answer is read once, and equal ones are one object."""

import gc

import orjson
import pytest

from gateway.runners import definitions as module
from gateway.runners.definitions import Shelf


def node(**inputs):
    return {"input": {"required": inputs}, "output": ["IMAGE"], "output_node": False, "name": "n", "category": "c"}


def answer(files=(), **classes):
    loader = node(image=[list(files), {"image_upload": True}])
    return orjson.dumps({"LoadImage": loader, **classes})


@pytest.fixture
def shelf():
    return Shelf()


def test_the_same_answer_is_the_same_object(shelf):
    assert shelf.read(answer()) is shelf.read(answer())


def test_runners_that_differ_in_their_input_files_only_define_the_same(shelf):
    first, second = shelf.read(answer(["a.png"])), shelf.read(answer(["b.png", "c.png"]))
    assert first is second
    assert first.object_info["LoadImage"]["input"]["required"]["image"][0] == []


def test_another_definition_is_another_version_and_shares_what_is_equal(shelf):
    first = shelf.read(answer(Invert=node(image=["IMAGE"])))
    second = shelf.read(answer(Invert=node(image=["MASK"])))
    assert first.version != second.version
    assert first.object_info["LoadImage"] is second.object_info["LoadImage"]
    assert set(second.catalogue.classes) == {"LoadImage", "Invert"}


def test_versions_are_never_given_again(shelf):
    version = shelf.read(answer()).version
    gc.collect()
    assert shelf.read(answer(Invert=node())).version > version
    assert Shelf().read(answer()).version > version


def test_what_no_runner_has_any_more_is_forgotten(shelf):
    kept = shelf.read(answer())
    version = shelf.read(answer(Invert=node())).version
    gc.collect()
    assert shelf.read(answer(Invert=node())).version != version
    assert shelf.read(answer()) is kept


def test_remembers_a_bounded_number_of_answers(shelf, monkeypatch):
    monkeypatch.setattr(module, "ANSWERS_MOST", 2)
    kept = shelf.read(answer())
    for number in range(5):
        assert shelf.read(answer([f"{number}.png"])) is kept
    assert len(shelf._of_answer) == 2


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b"{", b"null"])
def test_what_is_no_object_is_refused(shelf, body):
    with pytest.raises(ValueError):
        shelf.read(body)
