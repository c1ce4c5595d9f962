from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.comfyui import names
from gateway.comfyui.names import AnnotatedName, Counter

PART = st.text(st.characters(blacklist_characters="/\0\\:", blacklist_categories=["Cs"]), min_size=1).filter(
    lambda part: part not in (".", "..")
)
TYPES = st.sampled_from(names.FILE_TYPES)
FOLDER = st.lists(PART, max_size=3).map("/".join)


@given(PART, FOLDER, TYPES, TYPES)
def test_annotated_names_round_trip(filename: str, subfolder: str, kind: Any, default: Any) -> None:
    name = AnnotatedName(filename, subfolder, kind)
    assert names.parse_annotated(names.format_annotated(name, default), default) == name


@given(st.text(), TYPES)
def test_any_text_can_be_parsed(value: str, default: Any) -> None:
    file = names.parse_annotated(value, default)
    assert file.type in names.FILE_TYPES
    assert "/" not in file.filename


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a.png", AnnotatedName("a.png", "", "input")),
        ("a.png [output]", AnnotatedName("a.png", "", "output")),
        ("sub/dir/a b.png [temp]", AnnotatedName("a b.png", "sub/dir", "temp")),
        ("a.png [input]", AnnotatedName("a.png", "", "input")),
        ("a.png [other]", AnnotatedName("a.png [other]", "", "input")),
        ("a.png[output]", AnnotatedName("a.pn", "", "output")),
        ("[output]", AnnotatedName("", "", "output")),
        ("./sub//a.png", AnnotatedName("a.png", "sub", "input")),
        ("/etc/passwd", AnnotatedName("passwd", "/etc", "input")),
        ("/a.png", AnnotatedName("a.png", "/", "input")),
        ("../a.png", AnnotatedName("a.png", "..", "input")),
        ("", AnnotatedName("", "", "input")),
    ],
)
def test_annotations(value: str, expected: AnnotatedName) -> None:
    assert names.parse_annotated(value) == expected


def test_uploads_of_one_name_are_counted(new: dict[str, Any]) -> None:
    first = new["upload_new"]["json"]["name"]
    second = new["upload_other_bytes_same_name"]["json"]["name"]
    assert names.deduplicated(first, lambda name: name == first) == second


@given(PART, st.integers(0, 20))
def test_deduplicated_names_are_free(name: str, uploads: int) -> None:
    taken: list[str] = []
    for _ in range(uploads):
        taken.append(names.deduplicated(name, taken.__contains__))
    assert len(set(taken)) == uploads
    assert taken[:1] in ([], [name])


@pytest.mark.parametrize(
    ("filename", "safe"),
    [
        ("x.png", True),
        ("sub/x.png", True),
        ("../x.png", False),
        ("/etc/passwd", False),
        ("", False),
        ("a..b.png", False),
    ],
)
def test_view_refuses_unsafe_filenames_with_400(filename: str, safe: bool) -> None:
    assert names.is_safe_filename(filename) is safe


def test_what_view_refused_when_recorded(recording: dict[str, Any]) -> None:
    assert recording["view /view?filename=../x.png"]["status"] == 400
    assert recording["view /view?filename=/etc/passwd"]["status"] == 400
    assert recording["view /view?filename={upload}.png&type=bogus"]["status"] == 400
    assert not names.is_file_type("bogus")
    assert recording["view /view?filename={upload}.png&type=input&subfolder=../.."]["status"] == 403
    assert not names.is_safe_subfolder("../..")
    assert recording["upload_traversal"]["status"] == 400


@pytest.mark.parametrize("subfolder", ["", "pasted", "a/b", "a/../b", "./a", "a/", "a..b", "..a", "clip space"])
def test_subfolders_inside(subfolder: str) -> None:
    assert names.is_safe_subfolder(subfolder)


@pytest.mark.parametrize(
    "subfolder", ["..", "../..", "a/../..", "/", "/etc", "..\\x", "a\\..\\..", "C:\\x", "c:/x", "a\0"]
)
def test_subfolders_outside(subfolder: str) -> None:
    assert not names.is_safe_subfolder(subfolder)


@pytest.mark.parametrize(
    ("filename", "subfolder", "safe"),
    [
        ("a.png", "", True),
        ("a.png", "sub", True),
        ("b/a.png", "sub", True),
        ("../a.png", "sub", True),
        ("../a.png", "", False),
        ("a.png", "../../x", False),
        ("/etc/passwd", "", False),
        ("", "sub", False),
        (".", "sub", False),
        ("x/..", "sub", False),
    ],
)
def test_uploads_stay_inside_their_folder(filename: str, subfolder: str, safe: bool) -> None:
    assert names.is_safe_upload(filename, subfolder) is safe


@given(FOLDER)
def test_normal_subfolders_are_settled(subfolder: str) -> None:
    normal = names.normal_subfolder(subfolder)
    assert names.normal_subfolder(normal) == normal
    assert names.normal_subfolder(f"./{subfolder}/") == normal


@pytest.mark.parametrize(
    ("filename", "counter"),
    [
        ("ComfyUI_00001_.png", Counter("ComfyUI", 1, 5, "_.png")),
        ("ComfyUI_temp_ofitf_00012_.png", Counter("ComfyUI_temp_ofitf", 12, 5, "_.png")),
        ("a_00001_00002_.png", Counter("a_00001", 2, 5, "_.png")),
        ("a_100000_.latent", Counter("a", 100000, 6, "_.latent")),
        ("AnimateDiff_00003.mp4", Counter("AnimateDiff", 3, 5, ".mp4")),
        ("AnimateDiff_00003-audio.mp4", Counter("AnimateDiff", 3, 5, "-audio.mp4")),
        ("_00001_.png", Counter("", 1, 5, "_.png")),
        ("IMG_1234.png", None),
        ("plain.png", None),
        ("ComfyUI_00001_", Counter("ComfyUI", 1, 5, "_")),
        ("ComfyUI_٣٣٣٣٣_.png", None),
        ("", None),
    ],
)
def test_counters(filename: str, counter: Counter | None) -> None:
    assert names.split_counter(filename) == counter


@given(PART, st.integers(0, 10**9), st.integers(1, 8), st.sampled_from(["_.png", "_.tar.gz", "_.webp"]))
def test_counters_round_trip(prefix: str, number: int, width: int, suffix: str) -> None:
    filename = names.format_counter(Counter(prefix, number, width, suffix), number)
    assert names.split_counter(filename) == Counter(prefix, number, max(width, len(str(number))), suffix)


@pytest.mark.parametrize(
    ("value", "bare", "kind"),
    [
        ("a.png", "a.png", None),
        ("sub/a.png [output]", "sub/a.png", "output"),
        ("a.png[temp]", "a.pn", "temp"),  # the character before the mark goes, as in ComfyUI
        ("[input]", "", "input"),
        (" [input]", "", "input"),
        ("a.png [other]", "a.png [other]", None),
        ("a.png [input] ", "a.png [input] ", None),
    ],
)
def test_annotations_are_split_off(value: str, bare: str, kind: str | None) -> None:
    assert names.split_annotation(value) == (bare, kind)
