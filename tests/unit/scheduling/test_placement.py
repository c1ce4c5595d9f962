"""Filter, score, pick, each with its reason."""

from dataclasses import replace

import pytest

from gateway.comfyui.catalogue import Catalogue
from gateway.scheduling import placement
from gateway.scheduling.needs import Needs
from gateway.scheduling.placement import Judge, RunnerView

PLAIN = Needs(frozenset(), frozenset(), frozenset())
VIEW = RunnerView("gpu-0", frozenset(), True, True, "ready: answers", Catalogue({}), 1, 2, 0, 0, 0.01)


def views(*changes):
    return [replace(VIEW, name=f"gpu-{number}", **change) for number, change in enumerate(changes)]


def names(found):
    return [view.name for view in found]


def test_eligible_are_those_that_are_up_active_and_equipped():
    wants = Needs(frozenset({"sdxl"}), frozenset(), frozenset())
    runners = views({}, {"is_up": False}, {"is_active": False}, {"tags": frozenset({"flux"})}, {"held": 9})
    assert names(placement.eligible(wants, runners, Judge())) == ["gpu-0", "gpu-4"]
    assert names(placement.eligible(wants, runners, Judge(), frozenset({"gpu-0"}))) == ["gpu-4"]


@pytest.mark.parametrize(
    ("change", "could"), [({}, True), ({"is_up": False}, True), ({"held": 9}, True), ({"is_active": False}, False)]
)
def test_a_job_waits_for_a_runner_that_is_down_and_for_none_that_is_disabled(change, could):
    assert placement.could_become_eligible(PLAIN, views(change), Judge()) is could


def test_a_runner_that_lacks_a_class_may_be_asked_and_one_with_other_tags_may_not():
    wants = Needs(frozenset({"sdxl"}), frozenset({"Missing"}), frozenset())
    runners = views(
        {"tags": frozenset({"sdxl"})}, {"tags": frozenset({"flux"})}, {"is_up": False}, {"is_active": False}
    )
    assert names(placement.reachable(wants, runners)) == ["gpu-0"]


def test_most_responsive():
    assert placement.most_responsive(views({"latency": 0.3}, {"latency": 0.1, "held": 9})).name == "gpu-1"


def test_what_keeps_each_runner_from_a_job_has_words():
    runners = views(
        {"is_active": False, "is_up": False},
        {"is_up": False, "state": "lost: gone for 15 s"},
        {},
        {"tags": frozenset({"flux"})},
        {"reserved_for": frozenset({"alice"})},
        {"held": 2},
    )
    wants = Needs(frozenset({"sdxl"}), frozenset(), frozenset())
    assert [placement.obstacle(wants, runner, Judge(), frozenset({"gpu-2"})) for runner in runners] == [
        "disabled",
        "lost: gone for 15 s",
        "refused this prompt",
        "lacks the tags sdxl",
        "reserved for others",
        "",
    ]


@pytest.mark.parametrize(("owner", "tags", "fits"), [("alice", "", True), ("bob", "", False), ("bob", "vip", True)])
def test_a_reserved_runner_takes_its_owners_and_its_tags(owner, tags, fits):
    (runner,) = views({"reserved_for": frozenset({"alice", "vip"}), "tags": frozenset()})
    wants = Needs(frozenset(tags.split()), frozenset(), frozenset(), owner=owner)
    assert Judge().verdict(wants, runner).fits is fits
    assert bool(placement.reachable(wants, [runner])) is fits


def test_a_verdict_is_remembered_until_the_catalogue_or_the_tags_change():
    judge = Judge()
    wants = Needs(frozenset({"sdxl"}), frozenset({"New"}), frozenset())
    assert not judge.verdict(wants, VIEW).fits
    grown = replace(VIEW, catalogue=None)
    assert not judge.verdict(wants, grown).fits, "the same version is judged once"
    assert judge.verdict(wants, replace(grown, catalogue_version=2)).fits
    assert not judge.verdict(wants, replace(grown, catalogue_version=2, tags=frozenset({"flux"}))).fits


def test_verdicts_do_not_grow_without_bound():
    judge = Judge(most=3)
    for number in range(10):
        judge.verdict(Needs(frozenset(), frozenset({str(number)}), frozenset()), VIEW)
    assert len(judge._verdicts) <= 3
