import copy
from typing import Any

from gateway.comfyui import catalogue, object_info


def loader(*models: Any, **more: Any) -> dict[str, Any]:
    return {"input": {"required": {"model": [list(models), {"tooltip": "t"}]}}, "output": ["MODEL"], **more}


def modern(*models: Any) -> dict[str, Any]:
    return {"input": {"optional": {"model": ["COMBO", {"options": list(models), "tooltip": "t"}]}}, "output": ["MODEL"]}


def test_all_classes_and_the_first_ones_definition() -> None:
    first, second = {"A": loader("a", description="one")}, {"A": loader("a", description="two"), "B": loader("b")}
    merged = object_info.merge([("one", first), ("two", second)])
    assert merged == {"A": first["A"], "B": second["B"]}
    assert merged["A"] is first["A"], "unchanged definitions are shared"


def test_combos_are_joined_in_order() -> None:
    infos = [
        ("one", {"A": loader("a", 1), "B": modern("x")}),
        ("two", {"A": loader("b", "a", True), "B": modern("y", "x")}),
        ("three", {"A": loader("c", 1), "B": modern("z")}),
    ]
    before = copy.deepcopy(infos)
    merged = object_info.merge(infos)
    assert merged["A"]["input"]["required"]["model"] == [["a", 1, "b", True, "c"], {"tooltip": "t"}]
    assert merged["B"]["input"]["optional"]["model"] == ["COMBO", {"options": ["x", "y", "z"], "tooltip": "t"}]
    assert infos == before


def test_encodings_may_differ() -> None:
    other = {"A": {"input": {"required": {"model": ["COMBO", {"options": ["b"]}]}}, "output": ["MODEL"]}}
    merged = object_info.merge([("one", {"A": loader("a")}), ("two", other)])
    assert merged["A"]["input"]["required"]["model"][0] == ["a", "b"]


def test_recorded_definitions_of_two_versions(new: dict[str, Any], old: dict[str, Any]) -> None:
    found = []
    for path in ("get /object_info/LoadImage", "get /object_info/SaveImage"):
        infos = [("new", new[path]["json"]), ("old", old[path]["json"])]
        name = path.rpartition("/")[2]
        assert list(object_info.merge(infos)[name]) == list(new[path]["json"][name])
        found += object_info.conflicts(infos)
    # 0.33.0 gave SaveImage an output; a prompt that links to it fails on 0.3.64.
    assert found == [object_info.Conflict("SaveImage", (("new",), ("old",)))]


def test_conflicts_are_about_inputs_and_outputs_only() -> None:
    changed = loader("a")
    changed["input"]["required"]["strength"] = ["FLOAT", {}]
    infos = [
        ("one", {"A": loader("a"), "B": loader("a"), "C": loader()}),
        ("two", {"A": loader("b", category="other"), "B": changed}),
        ("three", {"B": loader("z")}),
    ]
    assert object_info.conflicts(infos) == [object_info.Conflict("B", (("one", "three"), ("two",)))]


def test_own_files_in_upload_combos(new: dict[str, Any]) -> None:
    info = new["get /object_info/LoadImage"]["json"] | {
        "LoadAudio": {"input": {"required": {"audio": ["COMBO", {"options": ["x"], "audio_upload": True}]}}},
        "LoadVideo": {"input": {"required": {"file": [["x"], {"video_upload": True}]}}},
        "Load3D": {"input": {"required": {"model": [["x"], {"file_upload": True}]}}},
        "Any": {"input": {"required": {"any": [["x"], {"upload": True}]}}},
        "LoadImageOutput": {
            "input": {
                "required": {"image": ["COMBO", {"options": [], "image_upload": True, "remote": {"route": "/x"}}]}
            }
        },
        "FromOutput": {"input": {"required": {"image": [["x"], {"image_upload": True, "image_folder": "output"}]}}},
        "Loader": loader("a"),
    }
    before = copy.deepcopy(info)
    files = ["a.PNG", "b.webp", "c.mp3", "d.mp4", "e.glb", "f.unknown"]
    told = object_info.with_upload_options(info, files)
    assert told["LoadImage"]["input"]["required"]["image"] == [["a.PNG", "b.webp"], {"image_upload": True}]
    assert told["LoadAudio"]["input"]["required"]["audio"][1]["options"] == ["c.mp3", "d.mp4"]
    assert told["LoadVideo"]["input"]["required"]["file"][0] == ["d.mp4"]
    assert told["Load3D"]["input"]["required"]["model"][0] == ["e.glb", "f.unknown"]
    assert told["Any"]["input"]["required"]["any"][0] == files
    assert told["LoadImageOutput"] is info["LoadImageOutput"]
    assert told["FromOutput"] is info["FromOutput"]
    assert told["Loader"] is info["Loader"]
    assert info == before


def test_odd_definitions_do_no_harm() -> None:
    infos: list[tuple[str, dict[str, Any]]] = [
        ("one", {"A": None, "B": {"input": 5}, "C": loader("a")}),
        ("two", {"A": {}, "B": {}, "C": []}),
    ]
    assert object_info.merge(infos)["C"] == loader("a")
    assert {conflict.class_type for conflict in object_info.conflicts(infos)} == {"A", "C"}
    assert object_info.with_upload_options(infos[0][1], ["a.png"]) == infos[0][1]


def test_the_catalogue_offers_these_too() -> None:
    assert catalogue.merge is object_info.merge
    assert catalogue.with_upload_options is object_info.with_upload_options
