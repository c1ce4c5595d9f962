"""Reading what ComfyUI writes into a PNG: which graph made it."""

import json
import struct
from typing import Any

HEAD_BYTES = 8  # the signature


def texts_of(png: bytes) -> dict[str, str]:
    """The tEXt chunks by keyword; fails on what is no PNG, or a cut one."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n"), png[:80]
    found, place, kind = {}, HEAD_BYTES, b""
    while kind != b"IEND":
        size, kind = struct.unpack(">I4s", png[place : place + 8])
        body = png[place + 8 : place + 8 + size]
        assert len(body) == size, "the PNG is cut"
        if kind == b"tEXt":
            keyword, _, text = body.partition(b"\0")
            found[keyword.decode("latin-1")] = text.decode("latin-1")
        place += 12 + size
    return found


def graph_of(png: bytes) -> dict[str, Any]:
    """The graph that made the picture."""
    graph: dict[str, Any] = json.loads(texts_of(png)["prompt"])
    return graph


def seed_of(png: bytes) -> int:
    """The seed of ``graphs.save_graph`` that made the picture."""
    return int(graph_of(png)["2"]["inputs"]["seed"])
