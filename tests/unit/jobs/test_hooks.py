import pytest

from gateway.jobs.hooks import ALL, Event, Hook, HookRefused, hook_of, hooks_of, merged
from gateway.jobs.terms import NO_TERMS, Terms


def test_a_url_alone_is_told_everything():
    assert hook_of("https://a.example") == Hook("https://a.example", ALL)


def test_events_come_in_their_order_each_once():
    hook = hook_of({"url": "u", "events": ["failed", "created", "failed"]})
    assert hook.events == (Event.CREATED, Event.FAILED)
    assert hooks_of([hook.as_json()]) == (hook,)


@pytest.mark.parametrize(
    "value", [None, 1, [], {}, {"url": 1}, {"url": "u", "events": []}, {"url": "u", "events": "created"}, {"urls": "u"}]
)
def test_anything_else_is_refused(value):
    with pytest.raises(HookRefused):
        hook_of(value)


def test_each_receiver_is_told_once_what_any_of_its_hooks_asks_for():
    hooks = [Hook("u", (Event.FAILED,)), Hook("v"), Hook("u", (Event.CREATED,))]
    assert merged(hooks) == (Hook("u", (Event.CREATED, Event.FAILED)), Hook("v"))


def test_terms_are_stored_and_found_again():
    terms = Terms(("sdxl",), (Hook("u", (Event.FAILED,)),))
    assert Terms.of_json(terms.as_json()) == terms
    assert Terms.of_json(NO_TERMS.as_json()) == NO_TERMS
