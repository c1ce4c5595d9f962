from pathlib import Path

import pytest

from gateway.simulator.folders import Folders, PathEscapes, inside, split_annotation


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path / "base")


def save(folders: Folders, prefix: str) -> str:
    place = folders.save_place(prefix, "output", 8, 6)
    name = f"{place.filename}_{place.counter:05}_.png"
    (place.folder / name).write_bytes(b"x")
    folders.saved(place, place.counter)
    return f"{place.subfolder}/{name}"


def test_counters_go_on_per_prefix_and_folder(folders: Folders) -> None:
    assert [save(folders, prefix) for prefix in ("a", "a", "b", "sub/a", "a")] == [
        "/a_00001_.png",
        "/a_00002_.png",
        "/b_00001_.png",
        "sub/a_00001_.png",
        "/a_00003_.png",
    ]


def test_the_counter_is_one_more_than_the_highest_in_the_folder(folders: Folders) -> None:
    (folders.base / "output" / "a_00041_.png").touch()
    (folders.base / "output" / "a_x_.png").touch()
    (folders.base / "output" / "ab_00099_.png").touch()
    assert save(folders, "a") == "/a_00042_.png"


def test_an_emptied_folder_begins_again(folders: Folders) -> None:
    save(folders, "a")
    for path in (folders.base / "output").iterdir():
        path.unlink()
    (folders.base / "output").touch()
    assert save(folders, "a") == "/a_00001_.png"


def test_sizes_in_prefixes(folders: Folders) -> None:
    assert save(folders, "%width%x%height%") == "/8x6_00001_.png"


@pytest.mark.parametrize("prefix", ["../a", "sub/../../a", "/etc/a"])
def test_prefixes_stay_inside(folders: Folders, prefix: str) -> None:
    with pytest.raises(PathEscapes):
        folders.save_place(prefix, "output", 1, 1)


def test_annotations() -> None:
    assert split_annotation("sub/a.png [output]") == ("sub/a.png", "output")
    assert split_annotation("a.png") == ("a.png", None)


def test_inside(tmp_path: Path) -> None:
    assert inside(tmp_path, "a/../b") == tmp_path / "b"
    with pytest.raises(PathEscapes):
        inside(tmp_path, "..")


def test_only_its_own_folder_is_removed(tmp_path: Path) -> None:
    given, made = Folders(tmp_path), Folders(None)
    given.remove()
    made.remove()
    assert given.base.exists()
    assert not made.base.exists()


def test_input_images_are_listed_anew_when_they_change(folders: Folders) -> None:
    assert folders.input_images() == []
    for name in ("b.png", "a.jpg", "notes.txt"):
        (folders.base / "input" / name).touch()
    assert folders.input_images() == ["a.jpg", "b.png"]
