"""The dispatcher's one timer, step by step of its table."""

import math

import pytest
from support.room import StandingClock

from gateway.jobs.wake_up import WakeUp


class Played:
    def __init__(self):
        self.clock = StandingClock()
        self.looks = []
        self.wake_up = WakeUp(self.clock, lambda: self.looks.append(self.clock.seconds))


@pytest.fixture
def played():
    return Played()


def test_it_looks_when_its_moment_comes_and_once(played):
    played.wake_up.move(5.0)
    played.clock.let_pass(4.9)
    assert played.looks == []
    played.clock.let_pass(10.0)
    assert played.looks == [5.0]


@pytest.mark.parametrize("to", [2.0, 8.0])
def test_it_moves_both_ways(played, to):
    played.wake_up.move(5.0)
    played.wake_up.move(to)
    played.clock.let_pass(20.0)
    assert played.looks == [to]


def test_there_is_one_timer_however_often_it_is_moved(played):
    for place in range(10):
        played.wake_up.move(5.0 + place % 3)
    assert len(played.clock.alarms) == 1


@pytest.mark.parametrize("how", ["off", "never"])
def test_it_is_off_when_no_time_ends_the_wait(played, how):
    played.wake_up.move(5.0)
    if how == "off":
        played.wake_up.off()
    else:
        played.wake_up.move(math.inf)
    played.clock.let_pass(20.0)
    assert played.looks == []


def test_a_look_may_set_it_again(played):
    played.wake_up._look = lambda: (played.looks.append(played.clock.seconds), played.wake_up.move(3.0))
    played.wake_up.move(5.0)
    played.clock.let_pass(12.0)
    assert played.looks == [5.0, 8.0, 11.0]


def test_a_moment_that_has_passed_is_soon(played):
    played.wake_up.move(-1.0)
    assert played.looks == [], "never from within the look that moves it"
    played.clock.let_pass(0.1)
    assert len(played.looks) == 1
