"""The tables of states, every pair of them."""

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from hypothesis.strategies import data, sampled_from

from gateway.jobs.states import (
    ATTEMPT_TRANSITIONS,
    ENDS,
    JOB_TRANSITIONS,
    OPEN_ATTEMPTS,
    AttemptState,
    IllegalTransition,
    JobState,
    check_attempt,
    check_job,
)

LEGAL_FOR_JOBS = """
    submitting -> pending dispatched running refused
    pending    -> dispatched cancelled failed
    dispatched -> running pending completed failed cancelled
    running    -> pending completed failed cancelled
    completed  ->
    failed     ->
    cancelled  ->
    refused    ->
"""
LEGAL_FOR_ATTEMPTS = """
    posting     -> held running in_doubt ended refused withdrawn undelivered lost
    probing     -> held running in_doubt ended refused withdrawn undelivered lost
    held        -> running ended withdrawn lost moved
    running     -> ended lost moved
    in_doubt    -> held running ended withdrawn lost moved
    ended       ->
    refused     ->
    withdrawn   ->
    undelivered ->
    lost        ->
    moved       ->
"""


def legal(table):
    pairs = set()
    for line in table.split("\n"):
        was, arrow, becomes = line.partition("->")
        if arrow:
            pairs |= {(was.strip(), state) for state in becomes.split()}
    return pairs


@pytest.mark.parametrize("was", JobState)
@pytest.mark.parametrize("becomes", JobState)
def test_every_pair_of_job_states(was, becomes):
    if (was, becomes) in legal(LEGAL_FOR_JOBS):
        check_job(was, becomes)
    else:
        with pytest.raises(IllegalTransition, match=f"a {was} job cannot become {becomes}"):
            check_job(was, becomes)


@pytest.mark.parametrize("was", AttemptState)
@pytest.mark.parametrize("becomes", AttemptState)
def test_every_pair_of_attempt_states(was, becomes):
    if (was, becomes) in legal(LEGAL_FOR_ATTEMPTS):
        check_attempt(was, becomes)
    else:
        with pytest.raises(IllegalTransition, match=f"a {was} attempt cannot become {becomes}"):
            check_attempt(was, becomes)


def test_open_attempts_are_those_that_can_still_change():
    assert {state for state in AttemptState if ATTEMPT_TRANSITIONS[state]} == OPEN_ATTEMPTS


def test_ends_and_refusal_are_for_ever():
    assert {state for state in JobState if not JOB_TRANSITIONS[state]} == ENDS | {JobState.REFUSED}


class AnyLife(RuleBasedStateMachine):
    """Whatever way a job takes through the table: accepted, it can still end, and it ends once."""

    def __init__(self):
        super().__init__()
        self.states = [JobState.SUBMITTING]

    @rule(choice=data())
    def go_on(self, choice):
        if not JOB_TRANSITIONS[self.states[-1]]:
            return
        becomes = choice.draw(sampled_from(sorted(JOB_TRANSITIONS[self.states[-1]])))
        check_job(self.states[-1], becomes)
        self.states.append(becomes)

    @invariant()
    def ends_once(self):
        assert sum(state in ENDS for state in self.states) <= 1

    @invariant()
    def is_never_refused_once_accepted(self):
        assert JobState.REFUSED not in self.states[2:]

    @invariant()
    def can_end(self):
        reached, found = set(), {self.states[-1]}
        while found - reached:
            reached |= found
            found = {after for state in found for after in JOB_TRANSITIONS[state]}
        assert reached & (ENDS | {JobState.REFUSED})


TestAnyLife = AnyLife.TestCase
TestAnyLife.settings = settings(max_examples=30, stateful_step_count=15, deadline=None)
