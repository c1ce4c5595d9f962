"""Prompts whose JSON or whose graph is made to hurt: answered as ComfyUI answers, or refused, quickly either way."""

import asyncio
import json
import time

import pytest
from support.client import Client
from support.graphs import save_graph

ANSWER_SECONDS_MOST = 20.0


async def post(pool, http, body, path="/prompt"):
    data = body if isinstance(body, bytes | str) else json.dumps(body)
    async with http.post(pool.base + path, data=data) as answer:
        return answer.status, await answer.text()


async def serves_on(pool):
    async with Client.connected(pool.base) as client:
        job = await client.submit(save_graph(1))
        await client.hear_end(job)


def prompt(graph: str, more: str = "") -> str:
    return f'{{"prompt": {graph}{more}}}'


GRAPH = json.dumps(save_graph(1))

# What ComfyUI falls over (500) or refuses (400), and what it takes.
ODD = {
    "nothing": ("", 500),
    "deep lists": ("[" * 200_000, 500),
    "deep objects": ('{"a":' * 200_000, 500),
    "a deep graph": (prompt("[" * 900 + "]" * 900), 500),
    "a deep input": (
        prompt('{"1": {"class_type": "EmptyImage", "inputs": {"width": ' + "[" * 900 + "]" * 900 + "}}}"),
        400,
    ),
    "deep extra_data": (prompt(GRAPH, ', "extra_data": {"a": ' + "[" * 900 + "]" * 900 + "}"), 200),
    "NaN": (prompt('{"1": {"class_type": "EmptyImage", "inputs": {"width": NaN}}}'), 400),
    "infinity": (prompt(GRAPH, ', "number": Infinity'), 500),
    "minus infinity": (prompt(GRAPH, ', "number": -Infinity'), 500),
    "a number that is NaN": (prompt(GRAPH, ', "number": NaN'), 500),
    "a huge number": (prompt(GRAPH, ', "number": ' + "9" * 400), 500),
    "a number too long to read": (prompt(GRAPH, ', "number": ' + "9" * 10_000), 500),
    "a huge exponent": (prompt('{"1": {"class_type": "EmptyImage", "inputs": {"width": 1e999999}}}'), 400),
    "a lone surrogate": (prompt('{"1": {"class_type": "\\ud800", "inputs": {}}}'), 400),
    "a lone surrogate as client": (prompt(GRAPH, ', "client_id": "\\udc00"'), 200),
    "NUL everywhere": (prompt('{"\\u0000": {"class_type": "\\u0000", "inputs": {"\\u0000": "\\u0000"}}}'), 400),
    "keys twice": ('{"prompt": {}, "prompt": ' + GRAPH + "}", 200),
    "a byte order mark": ("\ufeff" + prompt(GRAPH), 200),
    "a graph that is a list": (prompt("[]"), 400),
    "a graph that is a number": (prompt("5"), 500),
    "nodes that are numbers": (prompt('{"1": 5}'), 500),
    "no class": (prompt('{"1": {"inputs": {}}}'), 400),
    "a class that is a list": (prompt('{"1": {"class_type": [], "inputs": {}}}'), 500),
    "inputs that are a list": (prompt('{"1": {"class_type": "SaveImage", "inputs": []}}'), 400),
    "a link to nowhere": (prompt('{"1": {"class_type": "SaveImage", "inputs": {"images": ["9", 0]}}}'), 400),
    "a link to itself": (prompt('{"1": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}}}'), 400),
    "a link with a huge slot": (
        prompt(
            '{"1": {"class_type": "SaveImage", "inputs": {"images": ["2", 1e30]}}, "2": {"class_type": "EmptyImage"}}'
        ),
        400,
    ),
    "ids that are lists": (prompt(GRAPH, ', "prompt_id": [1], "client_id": [2]'), 400),
}


async def test_odd_prompts(pool, http):
    """Each is answered at once, in one of ComfyUI's ways; none is a failure that nobody thought of."""
    answered = {}
    for name, (body, _) in ODD.items():
        began = time.monotonic()
        status, _ = await post(pool, http, body)
        answered[name] = status
        assert time.monotonic() - began < ANSWER_SECONDS_MOST, name
    assert answered == {name: status for name, (_, status) in ODD.items()}
    await serves_on(pool)


def chain(length: int) -> dict[str, object]:
    """A picture inverted again and again: as deep as it is long."""
    nodes: dict[str, object] = {
        "0": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}}
    }
    for number in range(1, length):
        nodes[str(number)] = {"class_type": "ImageInvert", "inputs": {"image": [str(number - 1), 0]}}
    nodes["end"] = {"class_type": "PreviewImage", "inputs": {"images": [str(length - 1), 0]}}
    return nodes


def circle(length: int) -> dict[str, object]:
    """The same without a beginning."""
    return chain(length) | {"0": {"class_type": "ImageInvert", "inputs": {"image": [str(length - 1), 0]}}}


def wide(count: int) -> dict[str, object]:
    return {
        str(number): {
            "class_type": "SaveImage",
            "inputs": {"images": [str((number + 1) % count), 0], "filename_prefix": "a"},
        }
        for number in range(count)
    }


async def answers_meanwhile(pool, http, task):
    """Others are answered while this goes on. Returns the longest that one had to wait."""
    longest = 0.0
    while not task.done():
        began = time.monotonic()
        async with http.get(f"{pool.base}/gateway/health") as answer:
            assert answer.status == 200
        longest = max(longest, time.monotonic() - began)
        await asyncio.sleep(0.01)
    return longest


@pytest.mark.parametrize(
    ("graph", "statuses"),
    [
        (circle(100_000), {400, 413, 500}),
        (circle(2), {400}),
        (wide(1_000), {400}),  # a circle of outputs
        (chain(5_000), {200, 400, 500}),
        (chain(100_000), {400, 413, 500}),
    ],
    ids=["circle of 100000", "circle of 2", "outputs in a circle", "chain of 5000", "chain of 100000"],
)
@pytest.mark.timeout(180)
async def test_large_graphs(pool, http, graph, statuses):
    task = asyncio.create_task(post(pool, http, {"prompt": graph, "client_id": "a"}))
    longest = await answers_meanwhile(pool, http, task)
    status, text = await task
    assert status in statuses, text[:300]
    # The runner is in this very process, and is what takes longest.
    assert longest < ANSWER_SECONDS_MOST


@pytest.mark.parametrize(
    "path", ["/queue", "/history", "/interrupt", "/free", "/settings", "/users", "/api/jobs/cancel"]
)
async def test_odd_bodies_elsewhere(pool, http, path):
    odd = [
        "[" * 200_000,
        "{",
        "[]",
        "5",
        '"a"',
        "null",
        '{"delete": 5}',
        '{"delete": [[]]}',
        '{"clear": NaN}',
        '{"\\ud800": 1}',
        "\0",
    ]
    answered = {}
    for body in odd:
        status, text = await post(pool, http, body, path)
        answered[body[:20]] = status
        assert status < 500 or text.startswith("500 Internal Server Error"), (body[:20], status, text)
    await serves_on(pool)
