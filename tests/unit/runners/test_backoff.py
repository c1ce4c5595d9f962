from gateway.runners.backoff import Backoff


def test_first_failure_costs_nothing():
    backoff = Backoff(5, 60)
    backoff.failed(100)
    assert backoff.remaining(100) == 0
    assert not backoff.is_on_trial


def test_pause_doubles_up_to_the_most():
    backoff = Backoff(5, 60)
    pauses = []
    for _ in range(40):
        backoff.failed(100)
        pauses.append(backoff.remaining(100))
    assert pauses[:6] == [0, 5, 10, 20, 40, 60]
    assert pauses[-1] == 60


def test_on_trial_until_it_works():
    backoff = Backoff(5, 60)
    backoff.failed(100)
    backoff.failed(100)
    assert backoff.remaining(103) == 2
    assert backoff.remaining(105) == 0
    assert backoff.is_on_trial
    backoff.succeeded()
    assert not backoff.is_on_trial
    backoff.failed(106)
    assert backoff.remaining(106) == 0
