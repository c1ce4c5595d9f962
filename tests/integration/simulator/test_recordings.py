"""The simulator passes the recordings: every scenario, in order, gives what a real server of that version gave.

Compared are status, headers, JSON or text, the history entry, and every websocket frame of both sockets in its exact
order. Left out are only what two servers of one version never share (see `conftest`): times, ids that the server made,
random letters, tracebacks, memory sizes, and the exact bytes of JPEGs. `status` frames are not left out: the runner has
no threads, so their number and their counts are the same each time, and they are those of the recordings.
"""

import base64
import copy
import io
import json
from typing import Any

from PIL import Image

SHAPE_ONLY = {
    "get /extensions": "the scripts of whichever frontend package is installed",
    "get /global_subgraphs": "templates of a package that the simulator does not need",
    "get /node_replacements": "of nodes that the simulator does not have",
    "get /internal/logs/raw": "what a real server prints when it starts",
}
"""Scenarios of which only status, headers and the types in the JSON are compared, and why."""

NOT_A_REQUEST = {"get /object_info (size)": "a count of 633 classes, where the simulator has a dozen"}

NO_FRAMES_RECORDED = {("0.3.64", "prompt_client_supplied_id_not_uuid"): "the recorder did not wait for this job"}

RE_ENCODED = {
    "view /view?filename={upload}.png&type=input&preview=webp;75",
    "view /view?filename={upload}.png&type=input&channel=rgb",
    "view /view?filename={upload}.png&type=input&channel=a",
}
"""Pictures that the server encodes: compared by their pixels."""


async def test_every_scenario_gives_what_a_real_server_gave(replay: Any) -> None:
    wrong = {}
    for name in replay.recording:
        if name in NOT_A_REQUEST:
            continue
        expected, actual = await replay.scenario(name)
        if (replay.version, name) in NO_FRAMES_RECORDED:
            for side in (expected, actual):
                side.pop("websocket_submitter")
                side.pop("websocket_bystander")
        difference = differences(comparable(name, expected), comparable(name, actual))
        if difference:
            wrong[name] = difference
    assert not wrong, json.dumps(wrong, indent=1)[:20000]


def test_a_difference_of_any_kind_is_seen(recorded: Any) -> None:
    save = recorded("0.33.0")["prompt_ok_save"]
    for change in (
        lambda side: side.update(status=201),
        lambda side: side["json"].update(number=0.0),
        lambda side: side["headers"].pop("Content-Type"),
        lambda side: side["websocket_submitter"].pop(7),
        lambda side: side["websocket_bystander"].append(side["websocket_bystander"][0]),
        lambda side: side["websocket_submitter"][2]["text"]["data"].update(more=1),
    ):
        changed = copy.deepcopy(save)
        change(changed)
        assert differences(save, changed)
    swapped = copy.deepcopy(save)
    socket = swapped["websocket_submitter"]
    socket[4], socket[5] = socket[5], socket[4]
    assert differences(save, swapped)


def comparable(name: str, side: Any) -> Any:
    """A side with what the tables above take out of it."""
    if name == "head_root":  # another version of the frontend has another page
        side["headers"].pop("Content-Length", None)
        side["headers"].pop("Etag", None)
    if name in SHAPE_ONLY and "json" in side:
        side["json"] = shape(side["json"])
    if name in RE_ENCODED and "body_base64" in side:
        side.pop("body_len")
        side["headers"].pop("Content-Length")
        side["body_base64"] = pixels(side["body_base64"])
    if name == "get /system_stats":
        side["json"]["devices"][0].pop("name")
    return side


def shape(value: Any) -> Any:
    """Types instead of values, for the first of many."""
    if isinstance(value, dict):
        if value and all(isinstance(item, (dict, list)) for item in value.values()):
            return {"*": shape(next(iter(value.values())))}
        return {name: shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return type(value).__name__


def pixels(encoded: str) -> Any:
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
        return image.format, image.mode, image.size, image.convert("RGBA").tobytes().hex()


def differences(expected: Any, actual: Any, path: str = "") -> list[str]:
    """Where two values differ; 5 and 5.0 do."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        found = [f"{path}.{name}: only one side has it" for name in expected.keys() ^ actual.keys()]
        for name in expected.keys() & actual.keys():
            found += differences(expected[name], actual[name], f"{path}.{name}")
        return found
    if isinstance(expected, list) and isinstance(actual, list):
        found = [] if len(expected) == len(actual) else [f"{path}: {len(expected)} items, but {len(actual)}"]
        for index, (one, other) in enumerate(zip(expected, actual, strict=False)):
            found += differences(one, other, f"{path}[{index}]")
        return found
    if type(expected) is not type(actual) or expected != actual:
        return [f"{path}: {expected!r}, but {actual!r}"]
    return []
