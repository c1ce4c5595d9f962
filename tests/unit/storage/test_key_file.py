import stat

import pytest

from gateway.storage.errors import StorageError
from gateway.storage.key_file import KEY_BYTES, read_or_make


def test_a_key_is_made_once_and_read_from_then_on(tmp_path):
    path = tmp_path / "data" / "key"
    key = read_or_make(path)
    assert len(key) == KEY_BYTES
    assert read_or_make(path) == key
    assert [each.name for each in path.parent.iterdir()] == ["key"]


def test_nobody_else_can_read_it(tmp_path):
    read_or_make(tmp_path / "key")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_two_gateways_have_two_keys(tmp_path):
    assert read_or_make(tmp_path / "a") != read_or_make(tmp_path / "b")


def test_a_file_that_holds_no_key_is_left_alone(tmp_path):
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(StorageError, match="32 bytes"):
        read_or_make(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == b"short"


def test_a_folder_that_cannot_be_used_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="key file"):
        read_or_make(tmp_path / "file" / "key")
