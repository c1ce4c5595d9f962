"""What of a recording's scenarios is compared, and the comparison of a server with a whole recording."""

import base64
import io
from collections.abc import Callable, Collection
from typing import Any

from PIL import Image

from support.differences import differences
from support.replay import Replay

SHAPE_ONLY = {
    "get /extensions": "the scripts of whichever frontend package is installed",
    "get /global_subgraphs": "templates of a package that the simulator does not need",
    "get /node_replacements": "of nodes that the simulator does not have",
    "get /internal/logs/raw": "what a real server prints when it starts",
    "jobs_sorted": "by duration, which is this machine's where jobs take milliseconds",
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


async def differing(
    replay: Replay, plain: Callable[[Any], Any] = lambda side: side, without: Collection[str] = ()
) -> dict[str, list[str]]:
    """Where the server's answers and frames differ from the recorded ones, by scenario.

    ``plain`` is done to both sides; of the prompts in ``without`` only the numbers pass.
    """
    found = {}
    for name in replay.recording:
        if name in NOT_A_REQUEST:
            continue
        if name in without:
            await replay.count_on()
            continue
        expected, actual = await replay.scenario(name)
        if (replay.version, name) in NO_FRAMES_RECORDED:
            for side in (expected, actual):
                side.pop("websocket_submitter")
                side.pop("websocket_bystander")
        found[name] = differences(plain(comparable(name, expected)), plain(comparable(name, actual)))
    return {name: lines for name, lines in found.items() if lines}


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
