"""A thousand prompts by the pattern of ComfyUI's websocket example, through scripts in processes of their own: every
event told, every history there when it is asked for, every picture the right one."""

import asyncio
from collections.abc import Iterable
from typing import Any

from support.graphs import save_graph
from support.png import seed_of
from support.pools import running_pool
from support.scripts import pictures_of, run_script

STEPS = 2


async def run_seeds(base: str, seeds: Iterable[int], *flags: str) -> list[dict[str, Any]]:
    """Runs the script, a prompt for each seed."""
    return await run_script(base, [save_graph(seed, steps=STEPS) for seed in seeds], *flags)


def pictures(lines: list[dict[str, Any]]) -> list[int]:
    """The seeds of the pictures that were fetched, one for each prompt."""
    assert {len(line["files"]) for line in lines} == {1}
    return [seed_of(picture) for line in lines for picture in pictures_of(line)]


async def events_of_one_server(base: str) -> list[Any]:
    """What a server tells of one prompt, asked without a gateway."""
    (line,) = await run_seeds(base, [0])
    return list(line["told"])


async def test_in_a_row(tmp_path):
    seeds = list(range(1, 1001))
    async with running_pool(tmp_path) as pool:
        lines = await run_seeds(pool.base, seeds)
        assert sorted(pool.executed) == sorted(line["prompt_id"] for line in lines)
        expected = await events_of_one_server(pool.simulators[0].url)
    assert pictures(lines) == seeds
    assert [line["items"] for line in lines] == [
        [{"filename": f"out_{number:05}_.png", "subfolder": "", "type": "output"}] for number in seeds
    ]
    check_events(lines, expected)


async def test_several_clients_at_once(tmp_path):
    shares = [list(range(first, first + 250)) for first in (1, 251, 501, 751)]
    async with running_pool(tmp_path) as pool:
        answers = await asyncio.gather(*(run_seeds(pool.base, share, "--choose-ids") for share in shares))
        lines = [line for answer in answers for line in answer]
        assert sorted(pool.executed) == sorted(line["prompt_id"] for line in lines)
        assert all(len(simulator.executed) > 100 for simulator in pool.simulators)
        expected = await events_of_one_server(pool.simulators[0].url)
    assert [pictures(answer) for answer in answers] == shares
    names = [item["filename"] for line in lines for item in line["items"]]
    assert sorted(names) == [f"out_{number:05}_.png" for number in range(1, 1001)]
    check_events(lines, expected)


def check_events(lines: list[dict[str, Any]], expected: list[Any]) -> None:
    """Every prompt was told exactly as one server tells it, previews in their places."""
    assert expected[0] == "execution_start"
    assert expected[-2:] == ["execution_success", ["executing", None]]
    assert expected.count("0000000100000001") == STEPS
    assert expected.count(["progress", "2"]) == STEPS
    for line in lines:
        assert line["told"] == expected, line["prompt_id"]
        assert line["status"]["completed"], line["status"]
