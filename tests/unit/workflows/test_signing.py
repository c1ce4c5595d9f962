import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import Clock
from gateway.workflows.signing import Signer

KEY = bytes(range(32))
PATH = "/v1/output/0b0c/1/a_00001_.png"


class TurnedClock(Clock):
    now = 1_700_000_000_000

    def wall_ms(self):
        return self.now


@pytest.fixture
def clock():
    return TurnedClock()


@pytest.fixture
def signer(clock):
    return Signer(KEY, clock, seconds=60)


def test_a_signature_is_good_for_its_path_alone(signer):
    signature = signer.sign(PATH)
    assert signer.is_good(PATH, signature)
    assert not signer.is_good(PATH.replace("/1/", "/2/"), signature)
    assert not signer.is_good("", signature)


def test_it_expires(signer, clock):
    signature = signer.sign(PATH)
    clock.now += 60_000
    assert signer.is_good(PATH, signature)
    clock.now += 1_000
    assert not signer.is_good(PATH, signature)


def test_one_from_the_future_is_not_good(signer, clock):
    signature = signer.sign(PATH)
    clock.now -= 2_000
    assert not signer.is_good(PATH, signature)


def test_another_key_does_not_take_it(signer, clock):
    assert not Signer(bytes(32), clock, seconds=60).is_good(PATH, signer.sign(PATH))


def test_it_is_good_after_a_restart(signer, clock):
    assert Signer(KEY, clock, seconds=60).is_good(PATH, signer.sign(PATH))


@pytest.mark.parametrize("signature", ["", ".", "x", "a.b", "a.b.c", "ä", "\0", "=" * 10_000])
def test_what_is_no_signature_is_not_good(signer, signature):
    assert not signer.is_good(PATH, signature)


@given(st.text())
def test_a_changed_signature_is_not_good(other):
    signer = Signer(KEY, TurnedClock(), seconds=60)
    signature = signer.sign(PATH)
    assert signer.is_good(PATH, other) == (other == signature)


def test_the_signature_needs_no_escaping_in_a_query(signer):
    assert all(each.isascii() and (each.isalnum() or each in "-_.") for each in signer.sign(PATH))
