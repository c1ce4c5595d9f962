from typing import Any

from gateway.comfyui import features

LIMIT = features.DEFAULT_MAX_UPLOAD_SIZE


def flags_of(recording: dict[str, Any]) -> dict[str, Any]:
    return recording["get /features"]["json"]


def test_one_new_runner(new: dict[str, Any]) -> None:
    assert features.merge([flags_of(new)], max_upload_size=LIMIT) == {
        "supports_preview_metadata": True,
        "supports_model_type_tags": True,
        "max_upload_size": LIMIT,
        "node_replacements": True,
        "assets": False,
    }


def test_what_one_runner_lacks_is_not_promised(new: dict[str, Any], old: dict[str, Any]) -> None:
    merged = features.merge([flags_of(new), flags_of(old)], max_upload_size=LIMIT)
    assert merged == {"supports_preview_metadata": True, "max_upload_size": LIMIT, "assets": False}


def test_no_runner_at_all() -> None:
    assert features.merge([], max_upload_size=7) == {
        "supports_preview_metadata": True,
        "max_upload_size": 7,
        "assets": False,
    }


def test_the_smallest_upload_size_counts() -> None:
    flags = [{"max_upload_size": 50}, {"max_upload_size": 70}, {"max_upload_size": "odd"}, {}]
    assert features.merge(flags, max_upload_size=60)["max_upload_size"] == 50


def test_booleans_agree_on_the_lesser_and_other_values_must_be_equal() -> None:
    merged = features.merge(
        [
            {"node_replacements": True, "theme": "a", "x": 1, "assets": True, "supports_progress_text_metadata": True},
            {"node_replacements": False, "theme": "a", "x": 2, "assets": True},
        ],
        max_upload_size=1,
    )
    assert merged["node_replacements"] is False
    assert merged["theme"] == "a"
    assert merged["assets"] is False
    assert "x" not in merged
    assert "supports_progress_text_metadata" not in merged


def test_extensions_without_manager() -> None:
    flags = [
        {"extension": {"manager": {"supports_v4": True}, "pack": {"v": 1}}},
        {"extension": {"pack": {"v": 1}, "other": True}},
    ]
    assert features.merge(flags, max_upload_size=1)["extension"] == {"pack": {"v": 1}}
