"""Moving windows: what counts, how long to wait, and how much is kept."""

from __future__ import annotations

from limits import RateLimitItemPerMinute

from gateway.access.windows import Rates, Windows


class Time:
    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


def test_a_use_counts_for_a_minute():
    now = Time()
    rates, most = Rates(now), RateLimitItemPerMinute(2)
    assert [rates.hit(most, "a") for _ in range(3)] == [True, True, False]
    assert rates.hit(most, "b"), "everyone for itself"
    now.seconds += 20
    assert not rates.may_hit(most, "a")
    assert rates.wait_seconds(most, "a") == 40
    now.seconds += 40
    assert rates.may_hit(most, "a")
    assert rates.hit(most, "a")


def test_what_is_refused_does_not_count():
    now = Time()
    rates, most = Rates(now), RateLimitItemPerMinute(1)
    rates.hit(most, "a")
    for _ in range(100):
        now.seconds += 0.5
        assert not rates.hit(most, "a")
    now.seconds += 10
    assert rates.hit(most, "a")


def test_the_window_moves():
    now = Time()
    rates, most = Rates(now), RateLimitItemPerMinute(60)
    taken = 0
    for _ in range(300):
        now.seconds += 0.5
        taken += rates.hit(most, "a")
    assert taken == 3 * 60, "in the first half of each of three minutes"


def test_memory_is_bounded_and_the_longest_unused_is_forgotten():
    now = Time()
    windows = Windows(now, most=100)
    for number in range(1_000):
        windows.acquire_entry(f"address {number}", 5, 60)
        windows.acquire_entry("often", 5, 60)
    assert len(windows) <= 100
    assert len(windows._hits) <= 100
    assert windows.get("often") == 5
    assert windows.get("address 0") == 0
    assert windows.get("address 999") == 1


def test_a_key_goes_with_its_last_use():
    now = Time()
    windows = Windows(now)
    windows.acquire_entry("a", 5, 60)
    now.seconds += 60
    assert windows.get_moving_window("a", 5, 60) == (now.seconds, 0)
    assert not windows._hits
    assert len(windows) == 0


def test_a_key_is_cleared_and_all_are_reset():
    windows = Windows(Time())
    for key in "aab":
        windows.incr(key, 60)
    windows.clear("a")
    assert (windows.get("a"), windows.get("b"), len(windows)) == (0, 1, 1)
    assert windows.reset() == 1
    assert (len(windows), windows.check()) == (0, True)
