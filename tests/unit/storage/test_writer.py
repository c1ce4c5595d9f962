"""The order of what is written together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from gateway.storage.writer import Operation, _runs

STATEMENTS = [text("one"), text("two"), text("three")]
OPERATIONS = st.lists(st.tuples(st.sampled_from(STATEMENTS), st.sampled_from(["", "a", "b", "c"])), max_size=30)


def sent(found: list[tuple[object, str]]) -> list[tuple[object, int]]:
    """The statements with the places that their parameters had, in the order in which they are sent."""
    operations = [Operation(statement, {"place": place}, about) for place, (statement, about) in enumerate(found)]
    return [(statement, params["place"]) for statement, many in _runs(operations) for params in many]


@given(OPERATIONS)
def test_what_is_about_the_same_stays_in_order_and_what_is_about_nothing_in_its_place(found):
    places = [place for _, place in sent(found)]
    assert sorted(places) == list(range(len(found)))
    for first in range(len(found)):
        for second in range(first + 1, len(found)):
            one, other = found[first][1], found[second][1]
            if one == other or "" in (one, other):
                assert places.index(first) < places.index(second)


@given(OPERATIONS)
def test_each_keeps_its_statement(found):
    assert all(found[place][0] is statement for statement, place in sent(found))


def test_the_same_steps_of_many_jobs_are_one_statement_each():
    insert, update, delete = STATEMENTS
    steps = [Operation(statement, {}, job) for job in ("a", "b", "c") for statement in (insert, update, delete)]
    assert [len(many) for _, many in _runs(steps)] == [3, 3, 3]
