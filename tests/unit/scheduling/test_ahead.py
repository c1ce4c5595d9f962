"""When a runner that works gets its next job."""

import pytest

from gateway.scheduling import ahead


@pytest.mark.parametrize(
    ("left", "seconds"),
    [
        pytest.param([10.0], 9.5, id="a lead before its end"),
        pytest.param([10.0, 2.0], 11.5, id="before the end of all that it holds"),
        pytest.param([0.4], 0.0, id="a short job at once"),
        pytest.param([-3.0], 0.0, id="one that overruns"),
        pytest.param([None], 0.0, id="one of which nothing is known"),
        pytest.param([None, 10.0], 0.0, id="behind one of which nothing is known"),
        pytest.param([-3.0, 10.0], 9.5, id="behind one that is about to end"),
    ],
)
def test_its_next_slot_opens(left, seconds):
    assert ahead.opens_in(left, lead=0.5) == pytest.approx(seconds)


def test_the_lead_grows_with_what_a_dispatch_takes():
    assert ahead.lead_for(0.0) == ahead.LEAST_LEAD
    assert ahead.lead_for(2.0) == ahead.DISPATCHES * 2.0
