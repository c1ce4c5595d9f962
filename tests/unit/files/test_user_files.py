"""One user's files: what leaves the folder is refused, what is written is whole, listings show what ComfyUI's show."""

import errno
import os

import pytest

from gateway.files.user_files import BAD_NAME, INCOMING, UserDataRefused, UserFiles, info, remove_incoming, write_whole

LISTED = {"recurse": False, "full_info": False, "split": False}


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def files(tmp_path):
    return UserFiles(tmp_path / "default")


def put(files, name, content=b"{}"):
    write_whole(files.path_of(name), content)
    return files.path_of(name)


def refused(status, work, *arguments, **options):
    with pytest.raises(UserDataRefused) as caught:
        work(*arguments, **options)
    assert caught.value.status == status
    return caught.value


class TestNames:
    @pytest.mark.parametrize(
        "name", ["a.json", "workflows/a.json", "a/../b.json", ".", "a%2Fb", "100%.json", "a b.json"]
    )
    def test_inside(self, files, name):
        assert files.path_of(name).is_relative_to(files.root)

    @pytest.mark.parametrize(
        "name",
        ["..", "../x", "a/../../x", "/etc/passwd", "//etc/passwd", "%2e%2e/x", "..%2F..%2Fx", "%2Fetc", "../default2"],
    )
    def test_outside_is_403(self, files, name):
        refused(403, files.path_of, name)
        refused(403, files.begin, name, overwrite=True)
        refused(403, files.delete, name)

    def test_encoded_once_more_is_decoded_once_more(self, files):
        assert files.path_of("workflows%2Fa.json") == files.root / "workflows" / "a.json"
        assert files.path_of("workflows%252Fa.json") == files.root / "workflows%2Fa.json"


class TestListing:
    def test_hidden_files_and_folders_are_left_out(self, files):
        for name in ("w/b.json", "w/a.json", "w/.hidden", "w/.folder/x.json", "w/deep/c.json"):
            put(files, name)
        assert files.listing("w", **LISTED) == ["a.json", "b.json"]
        assert files.listing("w", **LISTED | {"recurse": True}) == ["a.json", "b.json", "deep/c.json"]
        assert files.listing("w", **LISTED | {"recurse": True, "split": True})[-1] == ["deep/c.json", "deep", "c.json"]
        assert files.listing("w/.folder", **LISTED) == ["x.json"]

    def test_facts_are_in_whole_milliseconds(self, files):
        path = put(files, "w/a.json", b"12345")
        os.utime(path, ns=(1_700_000_000_123_456_789, 1_700_000_000_123_456_789))
        (facts,) = files.listing("w", **LISTED | {"full_info": True, "split": True})
        assert facts["path"] == "a.json"
        assert (facts["size"], facts["modified"]) == (5, 1_700_000_000_123)
        assert isinstance(facts["created"], int)
        assert info(path, files.root)["path"] == "w/a.json"

    def test_of_a_file_is_empty_and_of_nothing_is_404(self, files):
        put(files, "w/a.json")
        assert files.listing("w/a.json", **LISTED) == []
        assert refused(404, files.listing, "x", **LISTED).text == "Directory not found"
        assert refused(403, files.listing, "..", **LISTED).text == "Invalid directory"

    def test_links_that_go_round_end(self, files):
        put(files, "w/a.json")
        (files.root / "w" / "again").symlink_to(files.root / "w")
        assert files.listing("w", **LISTED | {"recurse": True}) == ["a.json"]


class TestTree:
    def test_folders_come_first(self, files):
        for name in ("w/b.json", "w/A.json", "w/Z/c.json", ".hidden"):
            put(files, name)
        rows = files.tree("")
        assert [(row["type"], row["path"]) for row in rows] == [
            ("directory", "w"),
            ("directory", "w/Z"),
            ("file", ".hidden"),
            ("file", "w/A.json"),
            ("file", "w/b.json"),
            ("file", "w/Z/c.json"),
        ]
        assert rows[2]["size"] == 2
        assert isinstance(rows[2]["modified"], float)
        assert "size" not in rows[0]

    def test_refusals(self, files):
        assert files.tree("") == []
        put(files, "a.json")
        assert refused(404, files.tree, "x").text == "Requested path not found"
        assert refused(400, files.tree, "../..").text == "Invalid path requested"
        assert refused(400, files.tree, "a.json").text == "Requested path is not a directory"


class TestWriting:
    def test_until_it_is_complete_the_old_one_stays(self, files):
        put(files, "w/a.json", b"old")
        incoming = files.begin("w/a.json", overwrite=True)
        incoming.write(b"new")
        assert files.path_of("w/a.json").read_bytes() == b"old"
        assert files.listing("w", **LISTED) == ["a.json"]
        assert [row["name"] for row in files.tree("w")] == ["a.json"]
        incoming.finish()
        files.commit(incoming, "w/a.json", overwrite=True)
        incoming.discard()
        assert files.path_of("w/a.json").read_bytes() == b"new"
        assert names_in(files.root / "w") == ["a.json"]

    def test_discarded_leaves_nothing(self, files):
        incoming = files.begin("w/a.json", overwrite=True)
        incoming.write(b"half")
        incoming.discard()
        assert names_in(files.root / "w") == []

    def test_what_must_stay_is_409_also_when_it_came_meanwhile(self, files):
        incoming = files.begin("a.json", overwrite=False)
        put(files, "a.json")
        assert refused(409, files.commit, incoming, "a.json", overwrite=False).text == "File already exists"
        incoming.discard()
        refused(409, files.begin, "a.json", overwrite=False)

    @pytest.mark.parametrize("name", ["folder", "a.json/b.json", "x" * 300, "nul\0"])
    def test_impossible_names_are_400(self, files, name):
        put(files, "folder/x.json")
        put(files, "a.json")

        def write():
            incoming = files.begin(name, overwrite=True)
            try:
                incoming.finish()
                files.commit(incoming, name, overwrite=True)
            finally:
                incoming.discard()

        assert refused(400, write).reason == BAD_NAME
        assert not [name for _, _, names in os.walk(files.root) for name in names if name.startswith(INCOMING)]

    def test_a_full_disk_is_no_fault_of_the_name(self, files, monkeypatch):
        def full(*_arguments, **_options):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("tempfile.mkstemp", full)
        with pytest.raises(OSError, match="No space"):
            files.begin("a.json", overwrite=True)

    def test_what_a_crash_left_is_removed(self, files):
        put(files, "w/a.json")
        files.begin("w/b.json", overwrite=True).write(b"half")
        remove_incoming(files.root)
        assert names_in(files.root / "w") == ["a.json"]


class TestMovingAndDeleting:
    def test_move_makes_the_folder(self, files):
        put(files, "a.json", b"1")
        path = files.move("a.json", "new/deep/b.json", overwrite=False)
        assert path.read_bytes() == b"1"
        assert files.told(path, full_info=False) == "new/deep/b.json"
        assert files.told(path, full_info=True)["path"] == "new/deep/b.json"
        assert not files.path_of("a.json").exists()

    def test_move_refuses(self, files):
        put(files, "a.json")
        put(files, "b.json")
        refused(404, files.move, "x.json", "y.json", overwrite=True)
        refused(403, files.move, "a.json", "../y.json", overwrite=True)
        refused(409, files.move, "a.json", "b.json", overwrite=False)
        refused(500, files.move, "a.json", "x" * 300, overwrite=True)
        assert files.move("a.json", "b.json", overwrite=True).exists()

    def test_a_folder_is_moved_but_not_into_itself(self, files):
        put(files, "w/a.json")
        files.move("w", "v", overwrite=False)
        assert files.listing("v", **LISTED) == ["a.json"]
        refused(500, files.move, "v", "v/inside", overwrite=True)

    def test_delete(self, files):
        put(files, "w/a.json")
        refused(500, files.delete, "w")
        files.delete("w/a.json")
        refused(404, files.delete, "w/a.json")
