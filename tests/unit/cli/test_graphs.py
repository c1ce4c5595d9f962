import json

import pytest

from gateway.cli.graphs import GraphError, apply, described, read_graph

GRAPH = {
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "x", "clip": ["4", 1]}},
    "57:8": {"class_type": "KSampler", "inputs": {"seed": 1}},
    "a.b": {"class_type": "Node", "inputs": {"images.0": 1}},
}


def graph():
    return json.loads(json.dumps(GRAPH))


@pytest.mark.parametrize(
    ("setting", "node", "name", "value"),
    [
        ("6.text=a cat", "6", "text", "a cat"),
        ("6.text=a=b", "6", "text", "a=b"),
        ('6.text="12"', "6", "text", "12"),
        ("57:8.seed=12", "57:8", "seed", 12),
        ("57:8.seed=18446744073709551615", "57:8", "seed", 2**64 - 1),
        ('6.clip=["4", 0]', "6", "clip", ["4", 0]),
        ("a.b.images.0=null", "a.b", "images.0", None),
        ("6.text=", "6", "text", ""),
    ],
)
def test_an_input_is_set(setting, node, name, value):
    changed = graph()
    apply(changed, setting)
    assert changed[node]["inputs"][name] == value
    changed[node]["inputs"][name] = GRAPH[node]["inputs"][name]
    assert changed == GRAPH


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("7.text=x", "there is no node 7; there are 6, 57:8, a.b"),
        ("6.txt=x", "node 6 (CLIPTextEncode) has no input txt; it has text, clip"),
        ("6=x", "write NODE.INPUT=VALUE"),
        ("6.text", "write NODE.INPUT=VALUE"),
    ],
)
def test_what_cannot_be_set_says_why(setting, words):
    with pytest.raises(GraphError) as error:
        apply(graph(), setting)
    assert words in str(error.value)


def test_a_file_is_a_graph_or_a_request_with_one(tmp_path):
    file = tmp_path / "w.json"
    for content in (GRAPH, {"prompt": GRAPH, "client_id": "x"}):
        file.write_text(json.dumps(content))
        assert read_graph(file) == GRAPH


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not valid JSON"),
        ("[]", "no graph in API format"),
        ("{}", "no graph in API format"),
        ('{"1": {"inputs": {}}}', "node 1 has no class_type"),
        ('{"nodes": [], "links": [], "version": 0.4}', "Export (API)"),
    ],
)
def test_a_file_that_is_none_says_why(tmp_path, content, words):
    file = tmp_path / "w.json"
    file.write_text(content)
    with pytest.raises(GraphError) as error:
        read_graph(file)
    assert words in str(error.value)
    with pytest.raises(GraphError):
        read_graph(tmp_path / "nothing.json")


def test_refusals_are_told_node_by_node():
    fault = {"message": "Value not in list", "details": "ckpt_name: 'x' not in []"}
    node = {"class_type": "CheckpointLoaderSimple", "errors": [fault]}
    body = {"error": {"message": "Prompt outputs failed validation", "details": ""}, "node_errors": {"4": node}}
    assert described(body, 400) == [
        "Prompt outputs failed validation",
        "node 4 (CheckpointLoaderSimple): Value not in list: ckpt_name: 'x' not in []",
    ]
    assert described(None, 502) == ["the gateway answered 502"]
    assert described({"error": "gone"}, 404) == ["gone"]
