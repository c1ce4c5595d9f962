import pytest

from gateway.storage.sealing import Seal, Unsealable

KEY = bytes(range(32))


def test_what_is_sealed_can_be_opened_and_not_be_read():
    sealed = Seal(KEY, "headers").seal(b"Bearer secret")
    assert b"secret" not in sealed
    assert Seal(KEY, "headers").open(sealed) == b"Bearer secret"


@pytest.mark.parametrize(
    ("key", "purpose", "damage"),
    [
        (bytes(32), "headers", lambda sealed: sealed),
        (KEY, "other", lambda sealed: sealed),
        (KEY, "headers", lambda sealed: sealed[4:]),
        (KEY, "headers", lambda _: b""),
    ],
    ids=["another key", "another purpose", "cut", "empty"],
)
def test_what_does_not_open_says_so(key, purpose, damage):
    sealed = Seal(KEY, "headers").seal(b"Bearer secret")
    with pytest.raises(Unsealable):
        Seal(key, purpose).open(damage(sealed))
