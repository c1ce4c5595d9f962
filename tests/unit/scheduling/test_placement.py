"""Filter, score, pick, each with its reason."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as some

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


def test_least_work_counts_the_runners_own_queue_where_others_use_it_too():
    assert placement.least_work(views({"held": 1}, {"busy": 3}, {"held": 0})).name == "gpu-2"
    assert placement.least_work([]) is None


def test_among_equals_the_one_that_answers_fastest_by_whole_milliseconds():
    assert placement.least_work(views({"latency": 0.0302}, {"latency": 0.0101}, {"latency": 0.0099})).name == "gpu-1"


def test_most_responsive():
    assert placement.most_responsive(views({"latency": 0.3}, {"latency": 0.1, "held": 9})).name == "gpu-1"


def test_every_runner_has_its_reason():
    runners = views(
        {"is_active": False, "is_up": False},
        {"is_up": False, "state": "lost: gone for 15 s"},
        {},
        {"tags": frozenset({"flux"})},
        {"held": 2},
        {"held": 1},
    )
    wants = Needs(frozenset({"sdxl"}), frozenset(), frozenset())
    found = placement.explain(wants, runners, Judge(), frozenset({"gpu-2"}))
    assert found.considered == (
        ("gpu-0", "disabled"),
        ("gpu-1", "lost: gone for 15 s"),
        ("gpu-2", "refused this prompt"),
        ("gpu-3", "lacks the tags sdxl"),
        ("gpu-4", "full: holds 2 of 2"),
        ("gpu-5", "fits: 1 before it"),
    )
    assert (found.runner, found.reason) == ("gpu-5", "least work: 1 before it")


def test_no_runner_with_room():
    assert placement.explain(PLAIN, views({"held": 2}), Judge()).runner is None


states = some.fixed_dictionaries(
    {
        "is_up": some.booleans(),
        "is_active": some.booleans(),
        "held": some.integers(0, 3),
        "busy": some.integers(0, 3),
        "tags": some.sampled_from([frozenset(), frozenset({"sdxl"}), frozenset({"flux"})]),
    }
)


@given(some.lists(states, max_size=6))
def test_what_is_chosen_could_be_given_the_job_and_none_had_less_to_do(changes):
    wants = Needs(frozenset({"sdxl"}), frozenset(), frozenset())
    runners = views(*changes)
    chosen = placement.explain(wants, runners, Judge()).runner
    fit = [
        view
        for view in runners
        if view.is_up and view.is_active and view.held < view.capacity and view.tags != {"flux"}
    ]
    assert (chosen is None) is (not fit)
    if chosen is not None:
        (view,) = [view for view in fit if view.name == chosen]
        assert view.work == min(each.work for each in fit)


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
