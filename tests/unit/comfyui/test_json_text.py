import math

import pytest

from gateway.comfyui import json_text


def test_what_python_writes_is_read() -> None:
    value = json_text.loads('{"nan": NaN, "inf": -Infinity, "half": "\\ud800"}')
    assert math.isnan(value["nan"])
    assert value["inf"] == -math.inf
    assert value["half"] == "\ud800"


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, b"\xff", '{"a": 01}'])
def test_the_rest_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        json_text.loads(text)


def test_dumps_is_compact_and_keeps_the_order() -> None:
    assert json_text.dumps({"b": 1, "a": [True, None, "ü"]}) == '{"b":1,"a":[true,null,"ü"]}'


@pytest.mark.parametrize("value", [2**70, "\ud800", [{"x": -(2**65)}]])
def test_dumps_falls_back_to_python(value: object) -> None:
    assert json_text.loads(json_text.dumps([value])) is not None


def test_numbers_browsers_cannot_read_become_null() -> None:
    assert json_text.dumps([math.nan, math.inf]) == "[null,null]"
