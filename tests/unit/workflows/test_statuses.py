import pytest

from gateway.jobs.states import ENDS, JobState
from gateway.storage.workflows import GONE, UNSUBMITTED
from gateway.workflows.statuses import CANCELLABLE, ENDED, STATUS_OF, Status, standings_of


def test_every_standing_has_a_status():
    assert set(STATUS_OF) == {UNSUBMITTED, GONE, Status.INVALID, *map(str, JobState)}


def test_a_workflow_has_ended_when_its_job_has():
    assert {STATUS_OF[state] in ENDED for state in ENDS} == {True}
    assert {STATUS_OF[state] in ENDED for state in JobState if state not in ENDS} == {False}
    assert not CANCELLABLE & ENDED


@pytest.mark.parametrize("status", Status)
def test_the_standings_of_a_status_are_those_that_have_it(status):
    standings = standings_of({status})
    assert standings
    assert {STATUS_OF[standing] for standing in standings} == {status}


def test_all_statuses_are_all_standings():
    assert sorted(standings_of(set(Status))) == sorted(map(str, STATUS_OF))
