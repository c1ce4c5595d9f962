"""Users: one by default; many in users.json, whose ids are folders."""

import json

import pytest

from gateway.files.users import NAME_MOST, UnknownUser, UserRefused, Users
from gateway.storage.errors import StorageError


class TestOne:
    def test_whatever_the_header_says(self, tmp_path):
        users = Users(tmp_path, multi_user=False)
        for header in (None, "", "nobody", "../x"):
            assert users.files_of(header).root == tmp_path / "default"

    def test_a_made_one_is_of_no_use_and_leaves_nothing(self, tmp_path):
        users = Users(tmp_path, multi_user=False)
        made = users.add("bob")
        assert made.startswith("bob_")
        assert users.files_of(made).root.name == "default"
        with pytest.raises(UserRefused, match="Duplicate username"):
            users.add("bob")
        assert list(tmp_path.iterdir()) == []


class TestMany:
    def test_kept_over_a_restart(self, tmp_path):
        made = Users(tmp_path, multi_user=True).add(" Ada Löve ")
        again = Users(tmp_path, multi_user=True)
        assert again.names == {made: "Ada Löve"}
        assert made.startswith("Ada-L-ve_")
        assert again.files_of(made).root == tmp_path / made

    @pytest.mark.parametrize("header", [None, "", "default", "nobody", "__system", "..", "bob/../x"])
    def test_unknown(self, tmp_path, header):
        users = Users(tmp_path, multi_user=True)
        users.add("bob")
        with pytest.raises(UnknownUser):
            users.files_of(header)

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("bob", "Duplicate"),
            (" bob ", "Duplicate"),
            ("", "not provided"),
            ("  ", "not provided"),
            ("__x", "prefix"),
            ("x" * (NAME_MOST + 1), "characters"),
        ],
    )
    def test_refused(self, tmp_path, name, reason):
        users = Users(tmp_path, multi_user=True)
        users.add("bob")
        with pytest.raises(UserRefused, match=reason):
            users.add(name)
        assert list(json.loads((tmp_path / "users.json").read_text()).values()) == ["bob"]

    @pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}'])
    def test_a_broken_file_is_told_and_stays(self, tmp_path, text):
        (tmp_path / "users.json").write_text(text)
        with pytest.raises(StorageError, match=r"users\.json"):
            Users(tmp_path, multi_user=True)
        assert (tmp_path / "users.json").read_text() == text

    def test_an_id_that_leads_elsewhere_is_no_user(self, tmp_path):
        (tmp_path / "users.json").write_text('{"../x": "mallory", "a/b": "eve", "ok_1": "bob"}')
        assert Users(tmp_path, multi_user=True).names == {"ok_1": "bob"}

    def test_a_system_user_is_none(self, tmp_path):
        (tmp_path / "users.json").write_text('{"__system": "system"}')
        with pytest.raises(UnknownUser):
            Users(tmp_path, multi_user=True).files_of("__system")
