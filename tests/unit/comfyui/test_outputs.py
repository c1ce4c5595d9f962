import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.comfyui import outputs
from gateway.comfyui.outputs import OutputFile

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=6) | st.sampled_from(["filename", "type", "id", "fullpath"]), inner, max_size=4
        )
    ),
    max_leaves=15,
)

VIDEO = {
    "gifs": [
        {
            "filename": "clip_00001.mp4",
            "subfolder": "v",
            "type": "output",
            "format": "video/h264-mp4",
            "fullpath": "/data/output/v/clip_00001.mp4",
        }
    ],
    "animated": [True],
}


def numbered(file: OutputFile) -> OutputFile:
    return OutputFile("new_" + file.filename, file.subfolder, file.type)


@given(JSON)
def test_any_value_can_be_walked_and_mapped(value: Any) -> None:
    before = copy.deepcopy(value)
    asked: list[OutputFile] = []

    def rename(file: OutputFile) -> OutputFile:
        asked.append(file)
        return numbered(file)

    outputs.map_files(value, rename)
    outputs.strip_asset_ids(value)
    assert sorted(map(repr, asked)) == sorted(map(repr, outputs.files(value)))
    assert value == before
    assert outputs.map_files(value, lambda file: file) is value


def test_recorded_outputs(recording: dict[str, Any], history_in: Any) -> None:
    entries = history_in(recording).values()
    found = [file for entry in entries for file in outputs.files(entry["outputs"])]
    assert OutputFile("rec_00001_.png", "", "output") in found
    assert any(file.type == "temp" for file in found)


def test_names_change_and_the_rest_stays() -> None:
    told = outputs.map_files(VIDEO, numbered)
    assert told["gifs"][0] == VIDEO["gifs"][0] | {
        "filename": "new_clip_00001.mp4",
        "fullpath": "/data/output/v/new_clip_00001.mp4",
    }
    assert list(told["gifs"][0]) == list(VIDEO["gifs"][0])
    assert told["animated"] is VIDEO["animated"]


def test_missing_subfolder_and_type() -> None:
    assert outputs.output_file({"filename": "a"}) == OutputFile("a", "", "output")
    assert outputs.output_file({"filename": "a", "subfolder": None, "type": ""}) == OutputFile("a", "", "output")
    told = outputs.map_files([{"filename": "a"}], lambda file: OutputFile("b", "sub", "temp"))
    assert told == [{"filename": "b", "subfolder": "sub", "type": "temp"}]


def test_models_named_by_their_path() -> None:
    told = outputs.map_files({"result": ["mesh/a_00001_.glb", "plain text"]}, numbered)
    assert told == {"result": ["mesh/new_a_00001_.glb", "plain text"]}


def test_asset_ids_are_stripped_from_files_only() -> None:
    asset = "8af87e5a-6787-4ddc-bc6f-4c8a39eec76a"
    value = {"images": [{"filename": "a", "id": asset, "preview_id": None, "width": 5}], "text": [{"id": asset}]}
    assert outputs.strip_asset_ids(value) == {"images": [{"filename": "a", "width": 5}], "text": [{"id": asset}]}
    assert outputs.strip_asset_ids(VIDEO) is VIDEO
    own = {"images": [{"filename": "a", "id": "not an asset"}]}
    assert outputs.strip_asset_ids(own) is own


def test_hostile_nesting_does_no_harm() -> None:
    value: Any = {"filename": "a.png"}
    for _ in range(5000):
        value = [value]
    assert outputs.map_files(value, numbered) is value
    assert outputs.strip_asset_ids(value) is value
    assert list(outputs.files(value)) == []
