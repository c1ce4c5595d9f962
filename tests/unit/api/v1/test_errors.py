"""The words for what pydantic finds."""

import json
import re
from typing import Annotated, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, StringConstraints, ValidationError

from gateway.api.v1.errors import ErrorAnswer, of_validation
from gateway.api.v1.models import Request
from gateway.api.v1.runner_models import NewRunner, RunnerChange


class Body(Request):
    name: Annotated[str, StringConstraints(min_length=1, max_length=3)] = "a"
    number: int = 1
    tags: Annotated[list[str], Field(max_length=1)] = Field(default_factory=list)
    table: dict[str, str] = Field(default_factory=dict)
    kind: Literal["a", "b"] = "a"
    id: UUID | None = None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"name": ""}', "name cannot be empty"),
        ('{"name": "abcd"}', "name is longer than 3 characters"),
        ('{"name": 1}', "name must be a string"),
        ('{"number": "1"}', "number must be a whole number"),
        ('{"number": 1.5}', "number must be a whole number"),
        ('{"tags": ["a", "b"]}', "tags has more than 1 items"),
        ('{"tags": {}}', "tags must be an array"),
        ('{"tags": [1]}', "tags.0 must be a string"),
        ('{"table": []}', "table must be an object"),
        ('{"table": {"x": 1}}', "table.x must be a string"),
        ('{"kind": "c"}', "kind must be 'a' or 'b'"),
        ('{"id": "x"}', "id must be a UUID"),
        ("[]", "the body must be an object"),
    ],
)
def test_the_first_fault_is_told_with_its_field(text, message):
    with pytest.raises(ValidationError) as caught:
        Body.model_validate_json(text)
    assert of_validation(caught.value).message == message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=15,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("name", "endpoint", "tags", "headers", "status"), JSON)))
def test_whatever_is_sent_is_taken_or_refused_in_words(body):
    for model in (NewRunner, RunnerChange):
        try:
            model.model_validate_json(json.dumps(body))
        except ValidationError as error:
            refused = of_validation(error)
            assert refused.status == 400
            assert re.match(r"name|endpoint|tags|headers|status", refused.message)


def test_every_error_has_one_form():
    answer = ErrorAnswer(404, "requested entity not found")
    assert answer.content_type == "application/json"
    assert answer.body == b'{"status":404,"message":"requested entity not found"}'
