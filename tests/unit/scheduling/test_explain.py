"""Decisions in words."""

from gateway.scheduling import explain
from gateway.scheduling.needs import Needs
from gateway.scheduling.policies import POLICIES
from gateway.scheduling.snapshot import Line, RunnerNow, Snapshot
from gateway.scheduling.waiting import Waiting
from gateway.scheduling.warm import WarmFirst

NEEDS = Needs(frozenset(), frozenset(), frozenset(), frozenset({"a"}))
JOB = Waiting("x", 0, 0, NEEDS)


def told(*runners, policy=None, head="x", count=1, before=0, unserved=0.0):
    names = frozenset(runner.name for runner in runners)
    line = Line(head, (0, 0.0, 0.0, 0.0, 0), NEEDS.models, names, count, 2.0 * count, 2.0, unserved)
    now = Snapshot(tuple(runners), (line,), {"a": 8.0, "b": 8.0}, {"b": 1.0})
    return now, explain.job(now, policy or WarmFirst(), JOB, before)


def test_what_goes_says_where_and_why():
    _, (reason, runner) = told(RunnerNow("gpu-0", room=1, held=0, warm=("a",)))
    assert runner == "gpu-0"
    assert "has its models loaded" in reason


def test_what_waits_says_for_what():
    busy = RunnerNow("gpu-0", room=0, held=2, warm=("a",), ready_in=4.0)
    idle = RunnerNow("gpu-1", room=1, held=0, warm=("b",))
    assert told(head="y", before=7)[1] == ("7 jobs are due before it", None)
    assert told()[1] == ("no runner that fits is up", None)
    assert "the first is free in 4 s" in told(busy)[1][0]
    assert "2.0 s of work wait for them, another one loads them from 24.0 s on, or when 80 s" in told(busy, idle)[1][0]
    assert told(busy, idle, policy=POLICIES["least_work"])[1][1] == "gpu-1"
    kept = WarmFirst(keep=frozenset({"b"}))
    assert told(idle, policy=kept)[1] == ("the models that it would throw out are to be kept", None)


def test_each_runner_says_what_it_would_mean():
    now, _ = told(
        RunnerNow("gpu-0", room=0, held=2, warm=("a",), ready_in=4.0), RunnerNow("gpu-1", room=1, held=0, warm=("b",))
    )
    assert explain.runner(now, "gpu-0", NEEDS.models) == "has its models loaded; 2 before it, free in 4.0 s; full"
    assert explain.runner(now, "gpu-1", NEEDS.models) == "fits; would load for 8.0 s; and throw out b; idle"
    assert explain.runner(now, "gpu-9", NEEDS.models) == "fits"
