"""comfy-cli, ComfyUI's own command line: `comfy run` against the gateway."""

import asyncio
import json
import re

import pytest
from support import installs, programs
from support.client import Client
from support.graphs import invert_graph, save_graph
from support.png import seed_of
from yarl import URL

PACKAGE = "comfy-cli==1.23.0"

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def comfy(pool, tmp_path):
    """Runs a graph and waits for it."""
    program = installs.python_with("comfy-cli", PACKAGE) / "comfy"
    base = URL(pool.base)

    async def run(graph, *more):
        home = tmp_path / f"home-{len(list(tmp_path.glob('home-*')))}"
        home.mkdir()
        workflow = home / "workflow.json"
        workflow.write_text(json.dumps(graph))
        where = ("--workflow", workflow, "--host", base.host, "--port", str(base.port))
        return await programs.run(
            program, "--skip-prompt", "--no-json", "run", *where, "--wait", "--no-notify", *more, home=home
        )

    return run


async def fetch(address):
    url = URL(address)
    async with Client.connected(str(url.origin())) as client:
        return await client.view(**url.query)


async def test_a_run_ends_with_its_picture(comfy):
    done = await comfy(save_graph(11))
    assert done.code == 0, done
    assert "Workflow execution completed" in done.out
    (address,) = re.findall(r"http://\S+", done.out)
    assert seed_of(await fetch(address)) == 11


async def test_several_at_once_get_their_own_pictures(comfy):
    seeds = [21, 22, 23, 24]
    runs = await asyncio.gather(*(comfy(save_graph(seed), "--json") for seed in seeds))
    for seed, done in zip(seeds, runs, strict=True):
        *events, envelope = [json.loads(line) for line in done.out.splitlines()]
        assert envelope["ok"], done
        assert "executed" in [event["type"] for event in events]
        (address,) = envelope["data"]["outputs"]
        assert seed_of(await fetch(address)) == seed


async def test_a_failing_node_is_told_in_its_own_words(comfy):
    done = await comfy(save_graph(31, fail_at=0))
    assert done.code == 1
    assert "ProgressProbe (node 2): probe was told to fail here" in done.out + done.err


async def test_a_refused_prompt_is_told_in_its_own_words(comfy):
    done = await comfy(invert_graph("not there.png"))
    assert done.code == 1
    assert "Invalid image file: not there.png" in " ".join((done.out + done.err).split()), done


async def test_what_it_finds_itself_it_finds_in_the_pools_catalogue(comfy):
    done = await comfy(save_graph(51) | {"2": {"class_type": "NoSuchNode", "inputs": {}}})
    assert done.code == 1
    assert "class_type 'NoSuchNode' not found in object_info" in done.out + done.err
