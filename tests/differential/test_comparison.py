"""The comparison notices each kind of difference, and every one that is intended is a case and is documented."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import pytest
from differential.intended import INTENDED, NEW, OLD, Intended, unexplained
from differential.plain import plain
from differential.scenes import SCENES
from differential.single_requests import CASES
from differential.stage import apart, named
from differential.stories import STORIES
from support.differences import differences
from support.replay import load

PAGE = Path(__file__).parents[2] / "docs" / "differences.md"
REQUESTS = [*CASES, *(case for story in STORIES.values() for case in story)]


def frame(kind: str, **data: object) -> dict[str, object]:
    return {"text": {"type": kind, "data": data}}


TOLD = {
    "00 submit a": {
        "status": 200,
        "headers": {"Content-Type": "application/json"},
        "json": {"number": 1, "ids": ["{a}"]},
    },
    "01 A hears": [
        frame("execution_start", prompt_id="{a}"),
        frame("progress", prompt_id="{a}", value=1),
        {"event": 1, "format": 1, "size": 2},
        frame("executing", prompt_id="{a}", node=None),
    ],
    "02 A was last told of the queue": 0,
}

CHANGES = {
    "status": lambda told: told["00 submit a"].update(status=201),
    "a header": lambda told: told["00 submit a"]["headers"].pop("Content-Type"),
    "another header": lambda told: told["00 submit a"]["headers"].update(Allow="GET"),
    "a value": lambda told: told["00 submit a"]["json"].update(number=2),
    "1 and 1.0": lambda told: told["00 submit a"]["json"].update(number=1.0),
    "0 and false": lambda told: told.update({"02 A was last told of the queue": False}),
    "a key": lambda told: told["00 submit a"]["json"].update(more=None),
    "an item": lambda told: told["00 submit a"]["json"]["ids"].append("{b}"),
    "the last length of the queue": lambda told: told.update({"02 A was last told of the queue": 1}),
    "a frame that is missing": lambda told: told["01 A hears"].pop(),
    "a frame that comes twice": lambda told: told["01 A hears"].append(told["01 A hears"][0]),
    "the order of frames": lambda told: told["01 A hears"].reverse(),
    "a picture before its progress": lambda told: told["01 A hears"].insert(1, told["01 A hears"].pop(2)),
    "the kind of a picture": lambda told: told["01 A hears"][2].update(event=4),
    "another job's id": lambda told: told["01 A hears"][1]["text"]["data"].update(prompt_id="{b}"),
    "a step more": lambda told: told.update({"03": 1}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_difference_of_each_kind_is_noticed(change):
    changed = copy.deepcopy(TOLD)
    CHANGES[change](changed)
    assert not differences(TOLD, copy.deepcopy(TOLD))
    assert unexplained("a scene", differences(TOLD, changed), NEW, 1, [])


def test_frames_are_told_apart_by_job_in_their_order():
    mixed = [frame("executing", prompt_id=job, node=node) for node in ("1", "2") for job in ("{a}", "{b}")]
    one_by_one = sorted(mixed, key=lambda each: each["text"]["data"]["prompt_id"])
    assert apart({"01 A hears": mixed}) == apart({"01 A hears": one_by_one})
    assert apart({"01 A hears": mixed}) != apart({"01 A hears": mixed[::-1]})


def test_only_lengths_of_the_queue_and_headers_of_gateways_are_left_out():
    status = frame("status", status={"exec_info": {"queue_remaining": 1}})
    hello = frame("status", status={"exec_info": {"queue_remaining": 1}}, sid="<sid>")
    assert plain([hello, status, frame("progress")]) == [hello, frame("progress")]
    assert plain({"headers": {"X-Gateway-Job": "a", "Allow": "GET"}}) == {"headers": {"Allow": "GET"}}


def test_a_row_explains_its_place_only_and_has_to_differ():
    row = Intended("why", "a case", r"\.status", versions=(OLD,))
    assert not unexplained("a case", [".status: 200, but 201"], OLD, 1, [row])
    assert unexplained("a case", [".json: 1, but 2", ".status: 200, but 201"], OLD, 1, [row]) == [".json: 1, but 2"]
    assert unexplained("a case", [".status: 200, but 201"], NEW, 1, [row])
    assert unexplained("another", [".status: 200, but 201"], OLD, 1, [row])
    assert "no longer differs" in unexplained("a case", [], OLD, 1, [row])[0]


def test_jobs_are_named_where_their_ids_stand_and_nowhere_else():
    ids = {"a": "7", "b": "0f0f0f0f-1111-4222-8333-000000000001"}
    told = {"7": [700, "7", "scene700"], "path": f"/history/{ids['b']}"}
    assert named(told, ids) == {"{a}": [700, "{a}", "scene700"], "path": "/history/{b}"}


def test_every_row_is_about_a_case():
    names = {str(case) for case in REQUESTS} | {each.name for each in SCENES}
    names |= {f"recording: {name}" for version in (NEW, OLD) for name in load(version)}
    for row in INTENDED:
        assert any(re.fullmatch(row.cases, name) for name in names), row


def test_every_intended_difference_is_documented():
    page = PAGE.read_text()
    assert not {row.why for row in INTENDED if row.why not in page}


def test_there_are_as_many_cases_as_the_suite_promises():
    assert len(REQUESTS) + len(SCENES) > 150
    assert len({json.dumps([str(case), case.headers]) for case in CASES}) == len(CASES), "one case twice"
