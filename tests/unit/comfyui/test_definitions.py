from typing import Any

import pytest

from gateway.comfyui import definitions


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        ([["a", 1, True]], ["a", 1, True]),
        ([[], {"tooltip": "x"}], []),
        (["COMBO", {"options": ["a"]}], ["a"]),
        (["COMBO", {"remote": {}}], None),
        (["COMBO"], None),
        (["INT", {"min": 1, "options": [1]}], None),
    ],
)
def test_combos_in_both_encodings(spec: list[Any], options: list[Any] | None) -> None:
    assert definitions.combo_options(spec) == options


def test_inputs_of_odd_definitions_are_skipped() -> None:
    odd = {"input": {"required": {"a": "INT", "b": [], "c": ["INT"]}, "optional": None, "hidden": {"d": ["X"]}}}
    assert list(definitions.input_specs(odd)) == [("required", "c", ["INT"])]
    assert list(definitions.input_specs({"input": None})) == []
    assert list(definitions.input_specs({})) == []


@pytest.mark.parametrize(
    ("spec", "flag"),
    [
        ([[], {"image_upload": True}], "image_upload"),
        ([[], {"upload": True}], "upload"),
        (["COMBO", {"options": [], "file_upload": True}], "file_upload"),
        ([[], {"image_upload": False}], None),
        ([[]], None),
        ([[], None], None),
    ],
)
def test_upload_flags(spec: list[Any], flag: str | None) -> None:
    assert definitions.upload_flag(spec) == flag


def test_dynamic_inputs() -> None:
    assert definitions.is_dynamic(["COMFY_AUTOGROW_V3", {}])
    assert not definitions.is_dynamic([["COMFY_"]])
