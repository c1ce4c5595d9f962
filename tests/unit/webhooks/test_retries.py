from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import HOUR_MS
from gateway.config import WebhooksConfig
from gateway.webhooks.retries import JITTER, DeliveryState, Next, Outcome, after, pause_seconds

CONFIG = WebhooksConfig()
NOW = 1_700_000_000_000


def follows(outcome, *, tries=1, age_ms=0, chance=0.0):
    return after(outcome, tries=tries, created_at=NOW - age_ms, now=NOW, config=CONFIG, chance=chance)


def test_pauses_double_up_to_the_longest():
    pauses = [pause_seconds(tries, CONFIG, 0.0) for tries in range(1, 15)]
    assert pauses[:4] == [5, 10, 20, 40]
    assert pauses[-1] == CONFIG.longest_retry_seconds
    assert all(later >= earlier for earlier, later in pairwise(pauses))


@given(tries=st.integers(1, 10_000), chance=st.floats(0, 1, exclude_max=True))
def test_jitter_only_shortens_and_not_by_much(tries, chance):
    whole = pause_seconds(tries, CONFIG, 0.0)
    assert whole * (1 - JITTER) <= pause_seconds(tries, CONFIG, chance) <= whole <= CONFIG.longest_retry_seconds


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_2xx_is_delivered(status):
    assert follows(Outcome(status), age_ms=100 * HOUR_MS) == Next(DeliveryState.DELIVERED)


@pytest.mark.parametrize("status", [None, 301, 302, 400, 401, 404, 429, 500, 503])
def test_anything_else_is_tried_again(status):
    assert follows(Outcome(status)) == Next(DeliveryState.PENDING, NOW + 5_000)


def test_410_is_given_up_at_once():
    assert follows(Outcome(410)) == Next(DeliveryState.GIVEN_UP)


def test_it_is_given_up_when_the_next_try_would_be_too_late():
    late = CONFIG.give_up_hours * HOUR_MS - 5_000
    assert follows(Outcome(500), age_ms=late).state is DeliveryState.PENDING
    assert follows(Outcome(500), age_ms=late + 1) == Next(DeliveryState.GIVEN_UP)


def test_a_receiver_that_is_away_is_tried_for_24_hours():
    now, tries = 0, 0
    while True:
        tries += 1
        found = after(Outcome(None), tries=tries, created_at=0, now=now, config=CONFIG, chance=0.0)
        if found.state is DeliveryState.GIVEN_UP:
            break
        now = found.at
    assert 22 * HOUR_MS < now <= 24 * HOUR_MS
    assert 20 < tries < 60
