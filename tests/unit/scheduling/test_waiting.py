"""The waiting line against a sorted list and a walk through all."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.scheduling.needs import Needs
from gateway.scheduling.waiting import Waiting, WaitingLine

KINDS = [Needs(frozenset(), frozenset({name}), frozenset()) for name in "abc"]
REFUSALS = [frozenset(), frozenset({"gpu-0"})]
numbers = some.one_of(some.integers(-5, 5), some.floats(-5, 5, allow_nan=False))


def due(waiting):
    return (waiting.number, waiting.seq)


@given(
    some.lists(some.tuples(numbers, some.sampled_from(KINDS), some.sampled_from(REFUSALS)), max_size=30),
    some.sets(some.sampled_from(KINDS)),
    some.booleans(),
)
def test_first_is_what_a_walk_through_all_finds(jobs, fitting, accepts_refused):
    line, naive = WaitingLine(), []
    for seq, (number, needs, refused_by) in enumerate(jobs):
        waiting = Waiting(str(seq), number, seq, needs, refused_by)
        line.add(waiting)
        naive.append(waiting)
    naive.sort(key=due)
    fits = lambda needs, refused_by: needs in fitting and (accepts_refused or not refused_by)  # noqa: E731
    assert line.first(fits) == next((each for each in naive if fits(each.needs, each.refused_by)), None)
    assert list(line) == naive
    assert [line.position(each.job_id) for each in naive] == list(range(len(naive)))


class Line(RuleBasedStateMachine):
    """Jobs come and go in any order."""

    def __init__(self):
        super().__init__()
        self.line = WaitingLine()
        self.naive = {}
        self.seq = 0

    @rule(number=numbers, needs=some.sampled_from(KINDS), refused_by=some.sampled_from(REFUSALS))
    def come(self, number, needs, refused_by):
        self.seq += 1
        waiting = Waiting(str(self.seq), number, self.seq, needs, refused_by)
        self.line.add(waiting)
        self.naive[waiting.job_id] = waiting

    @rule(choice=some.integers(0, 50))
    def go(self, choice):
        job_id = str(choice)
        assert self.line.remove(job_id) is (self.naive.pop(job_id, None) is not None)
        assert job_id not in self.line

    @invariant()
    def is_sorted(self):
        assert list(self.line) == sorted(self.naive.values(), key=due)
        assert len(self.line) == len(self.naive)

    @invariant()
    def finds_the_first_of_each_kind(self):
        for kind in KINDS:
            mine = [each for each in self.naive.values() if each.needs == kind]
            assert self.line.first(lambda needs, _, kind=kind: needs == kind) == min(mine, key=due, default=None)


TestLine = Line.TestCase
TestLine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def test_a_job_stands_there_once():
    line = WaitingLine()
    line.add(Waiting("a", 1, 1, KINDS[0]))
    with pytest.raises(ValueError, match="waits already"):
        line.add(Waiting("a", 2, 2, KINDS[0]))


def test_who_does_not_wait_has_no_position():
    assert WaitingLine().position("a") is None
    assert WaitingLine().remove("a") is False
