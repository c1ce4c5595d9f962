import pytest

from gateway.access.standing import Standing, standing_of
from gateway.access.token import Token


def token(**more):
    return Token("id", "name", "alice", frozenset({"run"}), 0, **more)


@pytest.mark.parametrize(
    ("tokens", "weights", "standing"),
    [
        ([], {}, Standing(1.0, None)),
        ([], {"alice": 2.0, "bob": 3.0}, Standing(2.0, None)),
        ([token()], {"alice": 2.0}, Standing(2.0, None)),
        ([token(weight=4.0), token()], {"alice": 2.0}, Standing(4.0, None)),
        ([token(priority_ceiling=0), token(priority_ceiling=5)], {}, Standing(1.0, 5)),
        ([token(priority_ceiling=0), token()], {}, Standing(1.0, None)),
    ],
)
def test_the_most_generous_token_counts(tokens, weights, standing):
    assert standing_of("alice", tokens, weights) == standing


def test_a_ceiling_holds_from_above_only():
    assert [Standing(ceiling=0).priority(wanted) for wanted in (-5, 0, 5)] == [-5, 0, 0]
    assert Standing().priority(100) == 100
