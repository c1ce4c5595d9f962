"""What hostile clients and broken runners may send: JSON of any kind, graphs that are nearly right, names, frames."""

import json
import struct

from hypothesis import strategies as st

# Texts that have led programs astray, among any others.
TELLING = st.sampled_from(
    (
        *("", "..", "../x", "/", "\\", "\0", "a\0b", "%2e%2e", "%", "[output]", "a.png [input]", "a [temp]"),
        *("x_00001_.png", "x_99999999999999999999_.png", "__proto__", "${x}", "{{input_1}}", "\ud800", "\u202e"),
        *("ä", "😀", "-0", "1e999", "default", "input", "output", "EmptyImage", "SaveImage", "LoadImage"),
        *("ImageInvert", "gpu-0", "null", "NaN", "1"),
    )
)
TEXT = st.one_of(TELLING, st.text(alphabet=st.characters(), max_size=40))
NUMBERS = st.one_of(
    st.integers(), st.floats(), st.sampled_from([0, -1, 2**31, 2**53 + 1, 2**63, 2**64, 10**30, -(10**400), 1e308])
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXT)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(TEXT, inner, max_size=5)),
    max_leaves=25,
)

NODE_IDS = st.sampled_from(["1", "2", "3", "4", "", "x"])
CLASSES = st.sampled_from(
    ["EmptyImage", "SaveImage", "LoadImage", "ImageInvert", "ProgressProbe", "PreviewImage", "None"]
)
INPUTS = st.sampled_from(["image", "images", "width", "height", "batch_size", "color", "filename_prefix", "seed"])
LINKS = st.tuples(st.one_of(NODE_IDS, SCALARS), st.one_of(st.integers(-1, 3), SCALARS)).map(list)
NODES = st.one_of(
    st.fixed_dictionaries(
        {
            "class_type": st.one_of(CLASSES, TEXT),
            "inputs": st.dictionaries(INPUTS, st.one_of(LINKS, SCALARS), max_size=4),
        }
    ),
    st.fixed_dictionaries({"class_type": JSON, "inputs": JSON, "_meta": JSON}),
    JSON,
)
GRAPHS = st.one_of(st.dictionaries(NODE_IDS, NODES, max_size=5), JSON)
PROMPTS = st.one_of(
    st.fixed_dictionaries(
        {"prompt": GRAPHS},
        optional={
            "client_id": SCALARS,
            "prompt_id": SCALARS,
            "number": SCALARS,
            "front": SCALARS,
            "extra_data": JSON,
            "partial_execution_targets": JSON,
        },
    ),
    JSON,
)

# A node's class as /object_info tells it, and nearly.
COMBOS = st.lists(st.one_of(TEXT, SCALARS), max_size=4)
INPUT_SPECS = st.one_of(st.tuples(st.one_of(TEXT, COMBOS), st.dictionaries(TEXT, JSON, max_size=3)).map(list), JSON)
DEFINITIONS = st.one_of(
    st.fixed_dictionaries(
        {
            "input": st.dictionaries(
                st.sampled_from(["required", "optional", "hidden"]), st.dictionaries(INPUTS, INPUT_SPECS, max_size=4)
            ),
            "output": JSON,
            "output_node": SCALARS,
            "name": JSON,
        }
    ),
    JSON,
)
OBJECT_INFOS = st.dictionaries(st.one_of(CLASSES, TEXT), DEFINITIONS, max_size=4)

EVENTS = st.one_of(st.integers(0, 6), st.integers(0, 2**32 - 1))
FRAMES = st.one_of(
    st.binary(max_size=64),
    st.builds(lambda event, data: struct.pack(">I", event) + data, EVENTS, st.binary(max_size=64)),
    st.builds(
        lambda event, length, data: struct.pack(">II", event, length % 2**32) + data,
        EVENTS,
        st.integers(0, 2**32),
        st.binary(max_size=64),
    ),
    st.builds(
        lambda metadata, image: struct.pack(">II", 4, len(metadata)) + metadata + image,
        JSON.map(lambda value: json.dumps(value).encode()),
        st.binary(max_size=32),
    ),
)
OUTPUTS = st.one_of(
    st.dictionaries(
        TEXT,
        st.lists(
            st.fixed_dictionaries({}, optional={"filename": SCALARS, "subfolder": SCALARS, "type": SCALARS}), max_size=3
        ),
        max_size=3,
    ),
    JSON,
)
ENTRIES = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            "prompt": st.one_of(st.lists(JSON, max_size=6), JSON),
            "outputs": st.dictionaries(TEXT, OUTPUTS, max_size=3),
            "status": st.one_of(st.fixed_dictionaries({"status_str": JSON, "completed": JSON, "messages": JSON}), JSON),
            "meta": JSON,
        },
    ),
    st.dictionaries(TEXT, JSON, max_size=3),
)
URLS = st.one_of(
    TEXT,
    st.builds(
        lambda scheme, user, host, port, path: f"{scheme}://{user}{host}{port}{path}",
        st.sampled_from(["http", "https", "HTTP", "ftp", ""]),
        st.sampled_from(["", "a@", "a:b@", "@"]),
        st.one_of(
            st.sampled_from(["a", "127.0.0.1", "[::1]", "0x7f.1", "2130706433", "[::ffff:1.2.3.4]", "１２７.1"]), TEXT
        ),
        st.sampled_from(["", ":80", ":0", ":99999", ":x"]),
        st.one_of(st.just(""), TEXT),
    ),
)
