"""Jobs of one lane go one after the other; checked against a walk through all that wait."""

from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.scheduling.lanes import Lanes
from gateway.scheduling.needs import Needs
from gateway.scheduling.waiting import Waiting, WaitingLine

A, B = ("owner", "a"), ("owner", "b")
KINDS = [Needs(frozenset(), frozenset({name}), frozenset()) for name in "xy"]


def waiting(seq, lane=None, *, needs=KINDS[0], number=0):
    return Waiting(str(seq), number, seq, needs, frozenset(), lane)


def first(line, *kinds):
    found = line.first(lambda needs, _: not kinds or needs in kinds)
    return None if found is None else found.job_id


def test_a_lane_is_free_when_nobody_holds_it():
    lanes = Lanes()
    lanes.take(A, "1")
    lanes.take(A, "2")
    lanes.take(A, "2")
    lanes.leave(A, "1")
    assert (lanes.holders(A), lanes.holders(B)) == ({"2"}, frozenset())
    lanes.leave(A, "2")
    lanes.leave(A, "2")
    assert not lanes.holders(A)


def test_the_next_of_a_lane_goes_when_the_one_before_has_left_its_runner():
    line = WaitingLine()
    for each in (waiting(1, A), waiting(2, A), waiting(3, B), waiting(4)):
        line.add(each)
    assert first(line) == "1"
    line.take(A, "1")
    line.remove("1")
    assert first(line) == "3"
    assert line.is_held_back("2")
    line.leave(A, "1")
    assert first(line) == "2"
    assert not line.is_held_back("2")


def test_nobody_goes_past_the_first_of_the_lane():
    line = WaitingLine()
    line.add(waiting(1, A, needs=KINDS[0]))
    line.add(waiting(2, A, needs=KINDS[1]))
    assert first(line, KINDS[1]) is None
    assert line.is_held_back("2")
    line.add(waiting(3, A, needs=KINDS[1], number=-1))
    assert (first(line, KINDS[1]), first(line, KINDS[0])) == ("3", None)


def test_places_are_those_of_the_whole_line():
    line = WaitingLine()
    line.take(A, "0")
    for each in (waiting(1, A), waiting(2), waiting(3, A)):
        line.add(each)
    assert [line.position(job_id) for job_id in "123"] == [0, 1, 2]
    assert len(line) == 3


def test_a_lane_is_busy_while_a_job_of_it_runs_or_waits():
    line = WaitingLine()
    assert not line.is_busy(A)
    line.take(A, "0")
    assert line.is_busy(A)
    line.leave(A, "0")
    line.add(waiting(1, A))
    assert line.is_busy(A)
    line.remove("1")
    assert not line.is_busy(A)
    assert not line.is_held_back("1")


class Line(RuleBasedStateMachine):
    """Jobs of two lanes and of none come, go and are given out in any order."""

    def __init__(self):
        super().__init__()
        self.line = WaitingLine()
        self.waits = {}
        self.held = set()
        self.seq = 0

    @rule(lane=some.sampled_from([A, B, None]), needs=some.sampled_from(KINDS), number=some.integers(-2, 2))
    def come(self, lane, needs, number):
        self.seq += 1
        self.waits[str(self.seq)] = waiting(self.seq, lane, needs=needs, number=number)
        self.line.add(self.waits[str(self.seq)])

    @rule(choice=some.integers(0, 30))
    def go(self, choice):
        assert self.line.remove(str(choice)) is (self.waits.pop(str(choice), None) is not None)

    @rule(needs=some.sampled_from(KINDS))
    def give_out(self, needs):
        found = self.line.first(lambda kind, _: kind == needs)
        if found is not None:
            if found.lane is not None:
                assert found.lane not in {lane for lane, _ in self.held}
                self.line.take(found.lane, found.job_id)
                self.held.add((found.lane, found.job_id))
            self.line.remove(found.job_id)
            del self.waits[found.job_id]

    @rule(lane=some.sampled_from([A, B]))
    def take(self, lane):
        self.line.take(lane, "other")
        self.held.add((lane, "other"))

    @rule(lane=some.sampled_from([A, B]))
    def free(self, lane):
        for each in [each for each in self.held if each[0] == lane]:
            self.line.leave(*each)
            self.held.discard(each)

    @invariant()
    def those_that_may_go_are_found_by_a_walk(self):
        order = sorted(self.waits.values(), key=lambda each: each.due)
        held = {lane for lane, _ in self.held}
        seen, free = set(), []
        for each in order:
            if each.lane is None or (each.lane not in held and each.lane not in seen):
                free.append(each)
            seen.add(each.lane)
        for needs in KINDS:
            wanted = next((each for each in free if each.needs == needs), None)
            assert self.line.first(lambda kind, _, needs=needs: kind == needs) == wanted
        assert list(self.line) == order
        assert {each.job_id for each in order if self.line.is_held_back(each.job_id)} == {
            each.job_id for each in order if each not in free
        }


TestLine = Line.TestCase
