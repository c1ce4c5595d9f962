import pytest

from gateway.api.v1.rate import Rate
from gateway.config import V1Config


class TurnedClock:
    now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock():
    return TurnedClock()


def test_past_the_limit_nothing_is_served_until_it_has_cooled_down(clock):
    rate = Rate(V1Config(requests=40, per_seconds=30, cooldown_seconds=10), clock)
    assert [rate.wait_seconds("10.0.0.1") for _ in range(40)] == [0] * 40
    assert rate.wait_seconds("10.0.0.1") == 10
    clock.now += 4
    assert rate.wait_seconds("10.0.0.1") == 6  # asking again does not make it longer
    assert rate.wait_seconds("10.0.0.2") == 0
    clock.now += 6
    assert rate.wait_seconds("10.0.0.1") == 10  # still too many in half a minute
    clock.now += 20
    assert rate.wait_seconds("10.0.0.1") == 0


def test_an_ipv6_address_is_counted_by_its_network(clock):
    rate = Rate(V1Config(requests=1, per_seconds=3600), clock)
    assert rate.wait_seconds("2001:db8::1") == 0
    assert rate.wait_seconds("2001:db8::2") > 0
    assert rate.wait_seconds("2001:db8:0:1::1") == 0


def test_without_a_limit_everything_passes(clock):
    rate = Rate(V1Config(requests=None), clock)
    assert [rate.wait_seconds("10.0.0.1") for _ in range(1000)] == [0] * 1000


def test_the_hosted_services_limit_is_the_default():
    config = V1Config()
    assert (config.requests, config.per_seconds, config.cooldown_seconds) == (40, 10, 10)
