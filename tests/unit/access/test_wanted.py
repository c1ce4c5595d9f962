"""What may be asked of a token."""

import pytest
from pydantic import ValidationError

from gateway.access.token import Token, TokenLimits
from gateway.access.wanted import ChangeBody, RotationBody, TokenBody, faults_of, told

from .conftest import DAY_MS, NOW

WHOLE = {
    "name": "ci",
    "owner": "robots",
    "scopes": ["run", "run"],
    "tags": ["sdxl"],
    "weight": 2,
    "priority_ceiling": -1,
    "limits": {"rate": 10},
    "expires_in_days": 0.5,
}


def test_all_that_may_be_asked():
    token = TokenBody.model_validate(WHOLE).token(NOW)
    assert token == Token(
        "",
        "ci",
        "robots",
        frozenset({"run"}),
        NOW,
        tags=("sdxl",),
        weight=2,
        priority_ceiling=-1,
        limits=TokenLimits(rate=10),
        expires_at=NOW + DAY_MS // 2,
    )


def test_the_name_is_the_owner_where_it_is_fit_for_one():
    assert TokenBody(name="alice@studio").token(NOW).owner == "alice@studio"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"owner": ""}, "owner"),
        ({"owner": ".."}, "owner"),
        ({"owner": "a/b"}, "owner"),
        ({"owner": "x" * 65}, "owner"),
        ({"weight": float("inf")}, "weight"),
        ({"weight": 1_001}, "weight"),
        ({"priority_ceiling": 0.5}, "priority_ceiling"),
        ({"limits": {"pending": -1}}, "limits.pending"),
        ({"expires_in_days": 100_000}, "expires_in_days"),
        ({"tags": [str(number) for number in range(101)]}, "tags"),
        ({"cgw_" + "x" * 43: 1}, "[redacted]"),
    ],
)
def test_a_fault_names_its_field_and_no_value(changes, field):
    with pytest.raises(ValidationError) as caught:
        TokenBody.model_validate(WHOLE | changes)
    faults = faults_of(caught.value)
    assert list(faults) == [field]
    assert all(str(value) not in faults[field] for value in changes.values() if str(value).strip(". "))


def test_what_is_left_out_of_a_change_stays():
    token = TokenBody.model_validate(WHOLE).token(NOW)
    assert ChangeBody.model_validate({}).applied_to(token, NOW) == token
    changed = ChangeBody.model_validate({"weight": 3, "priority_ceiling": None}).applied_to(token, NOW + 1)
    assert (changed.weight, changed.priority_ceiling) == (3, None)
    assert (changed.tags, changed.limits, changed.expires_at) == (token.tags, token.limits, token.expires_at)
    assert ChangeBody.model_validate({"expires_in_days": None}).applied_to(token, NOW).expires_at is None
    later = ChangeBody.model_validate({"expires_in_days": 2}).applied_to(token, NOW + 5)
    assert later.expires_at == NOW + 5 + 2 * DAY_MS


@pytest.mark.parametrize("body", [{"owner": "bob"}, {"name": None}, {"scopes": []}, {"weight": None}])
def test_changes_that_there_are_not(body):
    with pytest.raises(ValidationError):
        ChangeBody.model_validate(body)


def test_a_grace_time_is_no_year_and_no_debt():
    assert RotationBody.model_validate({}).grace_hours is None
    assert RotationBody(grace_hours=0).grace_hours == 0
    for hours in (-1, 8_761):
        with pytest.raises(ValidationError):
            RotationBody(grace_hours=hours)


def test_states():
    token = TokenBody.model_validate(WHOLE).token(NOW)
    assert told(token, NOW)["state"] == "live"
    assert told(token, NOW + DAY_MS)["state"] == "expired"
