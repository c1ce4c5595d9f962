"""Settings: merged, kept, and never lost to a broken file."""

import json

import pytest

from gateway.files import settings
from gateway.files.user_files import UserDataRefused, UserFiles


@pytest.fixture
def files(tmp_path):
    return UserFiles(tmp_path / "default")


def test_none_yet(files):
    assert settings.load(files) == {}
    assert files.root.is_dir()  # from then on /users says "migrated", as ComfyUI's


def test_merged(files):
    settings.change(files, {"a": 1, "b": {"x": 1}})
    settings.change(files, {"b": {"y": 2}, "c": None})
    assert settings.load(files) == {"a": 1, "b": {"y": 2}, "c": None}
    assert json.loads((files.root / settings.SETTINGS_FILE).read_text()) == settings.load(files)


@pytest.mark.parametrize("text", ["{", "[1]", "", "\udcff", "[" * 100_000])
def test_a_broken_file_is_kept_apart(files, text):
    files.root.mkdir()
    content = text.encode("utf-8", "surrogateescape")
    (files.root / settings.SETTINGS_FILE).write_bytes(content)
    assert settings.load(files) == {}
    settings.change(files, {"a": 1})
    assert settings.load(files) == {"a": 1}
    assert (files.root / settings.BROKEN_FILE).read_bytes() == content


def test_bounded(files, monkeypatch):
    monkeypatch.setattr(settings, "BYTES_MOST", 100)
    settings.change(files, {"a": 1})
    with pytest.raises(UserDataRefused) as refused:
        settings.change(files, {"b": "x" * 100})
    assert refused.value.status == 413
    assert settings.load(files) == {"a": 1}
