"""The policy over snapshots that come at random, and over small ones that say what it is for."""

import dataclasses
import math

from hypothesis import given, settings
from hypothesis import strategies as some

from gateway.scheduling.policies import POLICIES
from gateway.scheduling.snapshot import Line, RunnerNow, Snapshot
from gateway.scheduling.warm import WarmFirst, victims

NAMES = [f"gpu-{number}" for number in range(4)]
MODELS = ["a", "b", "c", "d"]
LOADS = {"a": 8.0, "b": 8.0, "c": 8.0, "d": 8.0, "lora": 0.5}


def runner(name="gpu-0", *warm, room=1, held=0, **more):
    return RunnerNow(name, room=room, held=held, warm=warm, **more)


def line(head, *models, place=0, runners=NAMES, count=1, work=None, unserved=0.0):
    seconds = 2.0 * count if work is None else work
    return Line(head, (0, 0.0, 0.0, place, place), frozenset(models), frozenset(runners), count, seconds, 2.0, unserved)


def snapshot(runners, lines, demand=None):
    return Snapshot(tuple(runners), tuple(sorted(lines, key=lambda line: line.due)), LOADS, demand or {})


@some.composite
def snapshots(draw):
    runners = []
    for name in NAMES[: draw(some.integers(1, 4))]:
        held = draw(some.integers(0, 2))
        runners.append(
            RunnerNow(
                name,
                room=draw(some.integers(0, 2)),
                held=held,
                speed=draw(some.sampled_from([0.5, 1.0, 2.0])),
                warm=tuple(draw(some.lists(some.sampled_from(MODELS), unique=True, max_size=2))),
                keeps=draw(some.integers(1, 3)),
                ready_in=held * draw(some.floats(0.1, 5)),
                residence=draw(some.sampled_from([0.0, 10.0, math.inf])),
                opens_in=draw(some.sampled_from([0.0, 0.0, 2.0])) if held else 0.0,
            )
        )
    lines = [
        line(
            f"job-{place}",
            *draw(some.lists(some.sampled_from(MODELS), unique=True, max_size=2)),
            place=place,
            runners=draw(some.lists(some.sampled_from(NAMES), unique=True, max_size=4)),
            count=draw(some.integers(1, 50)),
            unserved=draw(some.floats(0, 300)),
        )
        for place in range(draw(some.integers(0, 6)))
    ]
    demand = {model: draw(some.floats(0, 3)) for model in MODELS}
    return snapshot(runners, lines, demand)


def alike(now):
    """The snapshot with idle runners that differ in nothing but their names."""
    first = dataclasses.replace(now.runners[0], held=0, room=1, ready_in=0.0, residence=math.inf)
    runners = tuple(dataclasses.replace(first, name=each.name) for each in now.runners)
    return dataclasses.replace(now, runners=runners)


@settings(max_examples=300)
@given(snapshots())
def test_the_same_snapshot_gives_the_same_decision_in_any_order_of_runners(given_one):
    for now in (given_one, alike(given_one)):
        other = Snapshot(tuple(reversed(now.runners)), now.lines, dict(now.loads), dict(reversed(now.demand.items())))
        assert len({WarmFirst().pick(each) for each in (now, now, now, other, other)}) == 1
        for policy in POLICIES.values():
            assert policy.pick(now) == policy.pick(Snapshot(now.runners, now.lines, now.loads, now.demand))


@given(snapshots())
def test_no_runner_idles_while_a_job_that_it_has_warm_waits(now):
    could = any(
        set(line.models) <= set(runner.warm) and runner.name in line.runners
        for line in now.lines
        for runner in now.idle.values()
    )
    assert not could or WarmFirst().pick(now) is not None


@given(snapshots())
def test_decisions_keep_to_what_fits_and_to_the_room(now):
    for name, policy in POLICIES.items():
        decision = policy.pick(now)
        if decision is None:
            continue
        chosen = now.by_name[decision.runner]
        heads = {line.head: line for line in now.lines}
        assert chosen.takes_more
        assert decision.runner in heads[decision.job].runners
        if name == "warm" and chosen.held:
            assert now.missing(chosen, heads[decision.job].models) == 0, "given ahead where it is not loaded"


@settings(max_examples=300)
@given(snapshots())
def test_an_overdue_line_gets_an_idle_runner_that_may_switch(now):
    policy = WarmFirst()
    late = [
        line
        for line in now.lines
        if policy.is_overdue(now, line)
        and any(runner.residence == math.inf and runner.name in line.runners for runner in now.idle.values())
    ]
    if late:
        decision = policy.pick(now)
        chosen = next(line for line in now.lines if line.head == decision.job)
        assert policy.is_overdue(now, chosen)
        assert chosen.unserved >= max(line.unserved for line in late)


def test_what_was_passed_over_for_too_long_goes_before_what_is_loaded():
    pool = [runner("gpu-0", "a"), runner("gpu-1", "b", held=1, room=0, ready_in=300.0)]
    for unserved, chosen in ((79.0, "warm"), (81.0, "late")):
        late = line("late", "b", place=1, runners=["gpu-0"], work=0.1, unserved=unserved)
        decision = WarmFirst(patience=10.0).pick(snapshot(pool, [line("warm", "a"), late]))
        assert decision.job == chosen
    assert decision.is_forced
    again = [runner("gpu-0", "a", residence=31.0)]
    assert WarmFirst().pick(snapshot(again, [line("warm", "a"), late])).job == "warm", "it was made to a moment ago"


def test_warm_goes_before_what_is_due_first():
    decision = WarmFirst().pick(snapshot([runner("gpu-0", "b")], [line("old", "a"), line("new", "b", place=1)]))
    assert (decision.job, decision.load) == ("new", 0)


def test_what_no_runner_has_is_loaded_by_whoever_is_idle():
    decision = WarmFirst().pick(snapshot([runner("gpu-0", "b")], [line("x", "a")], {"b": 0.5}))
    assert (decision.job, decision.runner, decision.load) == ("x", "gpu-0", 8.0)


def test_waits_for_a_busy_runner_that_has_it_until_that_hurts():
    runners = [runner("gpu-0", "a", room=0, held=2, ready_in=4), runner("gpu-1", "b")]
    assert WarmFirst().pick(snapshot(runners, [line("x", "a", count=3)])) is None
    decision = WarmFirst().pick(snapshot(runners, [line("x", "a", count=30)]))
    assert (decision.runner, decision.load) == ("gpu-1", 8.0)


def test_a_victim_that_is_needed_makes_switching_dearer():
    runners = [runner("gpu-0", "a", room=0, held=2, ready_in=4), runner("gpu-1", "b")]
    waits = [line("x", "a", count=5)]
    assert WarmFirst().pick(snapshot(runners, waits)).runner == "gpu-1"
    assert WarmFirst().pick(snapshot(runners, waits, {"b": 1.0})) is None


def test_the_victim_that_is_needed_least_goes():
    runners = [runner("gpu-0", "b"), runner("gpu-1", "c"), runner("gpu-2", "b")]
    decision = WarmFirst().pick(snapshot(runners, [line("x", "a")], {"b": 0.9, "c": 0.9}))
    assert decision.runner == "gpu-0", "another runner has b, none has c"


def test_a_small_missing_part_is_loaded_sooner():
    runners = [runner("gpu-0", "a", "lora", room=0, held=1, ready_in=1), runner("gpu-1", "a")]
    decision = WarmFirst().pick(snapshot(runners, [line("x", "a", "lora")]))
    assert (decision.runner, decision.load) == ("gpu-1", 0.5)


def test_ahead_only_where_it_begins_first():
    slow, fast = runner("gpu-0", "a", held=1, ready_in=9), runner("gpu-1", "a", held=1, room=0, ready_in=2)
    assert WarmFirst().pick(snapshot([slow, fast], [line("x", "a")])) is None
    soon = runner("gpu-0", "a", held=1, ready_in=1)
    assert WarmFirst().pick(snapshot([soon, fast], [line("x", "a")])).runner == "gpu-0"


def test_ahead_only_once_its_slot_is_open():
    busy = runner("gpu-0", "a", held=1, ready_in=5.0, opens_in=4.5)
    for policy in POLICIES.values():
        assert policy.pick(snapshot([busy], [line("x", "a")])) is None
        decision = policy.pick(snapshot([dataclasses.replace(busy, opens_in=0.0)], [line("x", "a")]))
        assert (decision.job, decision.runner) == ("x", "gpu-0")


def test_a_runner_that_an_overdue_line_makes_switch_gets_nothing_ahead():
    """It would never be idle where work for what it has loaded goes on coming."""
    late = line("late", "b", place=1, unserved=1_000.0)
    busy = [runner(name, "a", held=1, ready_in=0.5) for name in ("gpu-0", "gpu-1")]
    decision = WarmFirst().pick(snapshot(busy, [line("warm", "a", count=9), late]))
    assert decision.job == "warm"
    assert (
        WarmFirst().pick(snapshot([busy[0] if decision.runner == "gpu-1" else busy[1]], [line("warm", "a"), late]))
        is None
    )
    idle = [runner("gpu-0", "a"), runner("gpu-1", "a", held=1, ready_in=0.5)]
    assert WarmFirst().pick(snapshot(idle, [line("warm", "a"), late])).job == "late"


def test_what_is_overdue_is_given_ahead_too_where_it_is_loaded():
    late = line("late", "b", place=1, unserved=1_000.0)
    both = runner("gpu-0", "a", "b", held=1, ready_in=0.5, keeps=2)
    decision = WarmFirst().pick(snapshot([both], [line("warm", "a"), late]))
    assert (decision.job, decision.load) == ("late", 0)


def test_a_runner_idles_for_none_that_is_given_ahead():
    """What an idle runner can do is decided first."""
    pool = [runner("gpu-0", "a", held=1, ready_in=0.1), runner("gpu-1", "b")]
    decision = WarmFirst().pick(snapshot(pool, [line("ahead", "a"), line("now", "b", place=1)]))
    assert (decision.job, decision.runner) == ("now", "gpu-1")


def test_the_last_copy_of_a_model_to_be_kept_stays():
    now = snapshot([runner("gpu-0", "b")], [line("x", "a")])
    assert WarmFirst(keep=frozenset({"b"})).pick(now) is None
    two = snapshot([runner("gpu-0", "b"), runner("gpu-1", "b")], [line("x", "a")])
    assert WarmFirst(keep=frozenset({"b"})).pick(two) is not None
    late = snapshot([runner("gpu-0", "b")], [line("x", "a", unserved=1_000)])
    assert WarmFirst(keep=frozenset({"b"})).pick(late).is_forced


def test_light_models_throw_nothing_out():
    now = snapshot([], [])
    assert victims(now, runner("gpu-0", "a", "b", keeps=2), frozenset({"lora"})) == []
    assert victims(now, runner("gpu-0", "a", "b", keeps=2), frozenset({"c"})) == ["a"]
    assert victims(now, runner("gpu-0", "a", "b", keeps=3), frozenset({"c"})) == []
    assert victims(now, runner("gpu-0", "a", "b", keeps=1), frozenset({"b"})) == []


def test_the_other_policies_look_at_no_models():
    runners = [runner("gpu-0", "a", held=1, queue=1, last_given=1), runner("gpu-1", "b", last_given=2)]
    now = snapshot(runners, [line("x", "a")])
    assert POLICIES["least_work"].pick(now).runner == "gpu-1"
    assert POLICIES["round_robin"].pick(now).runner == "gpu-0"


def test_least_work_counts_the_queue_over_the_speed_and_then_who_answers_fastest():
    def pick(*runners):
        return POLICIES["least_work"].pick(snapshot(runners, [line("x")])).runner

    assert pick(runner("gpu-0", held=1, queue=1), runner("gpu-1", queue=3), runner("gpu-2")) == "gpu-2"
    assert pick(runner("gpu-0", held=1, queue=1), runner("gpu-1", held=2, queue=2, speed=3.0)) == "gpu-1"
    assert pick(runner("gpu-0", latency=0.0302), runner("gpu-1", latency=0.0101)) == "gpu-1"
    assert pick(runner("gpu-0", latency=0.0101), runner("gpu-1", latency=0.0099)) == "gpu-0", "within a millisecond"
