"""The gateway plays every scene as one runner does, over one runner and over three: answers, frames, history, files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import NamedTuple

import pytest
import pytest_asyncio
from differential.graphs import ONLY_HERE
from differential.intended import NEW, OLD, unexplained
from differential.scenes import SCENES
from differential.stage import Scene, Stage, apart
from support.differences import differences
from support.pools import running_pool
from support.servers import Direct, Gateway

from gateway.simulator import Simulator, SimulatorOptions, extra_node

BODY_BYTES_MOST = 250_000
COMMON = {"draw": False, "preview_size": 16, "max_upload_size": BODY_BYTES_MOST}
EVERYWHERE = (extra_node("SaveImageWebsocket"),)
CONFIG = {
    "server": {"port": 0, "max_upload_size": BODY_BYTES_MOST},
    "sessions": {"status_per_second": 1000},
}
POOLS = [(version, runners) for version in (NEW, OLD) for runners in (1, 3)]


class Sides(NamedTuple):
    """One server, and a gateway over so many of the same version."""

    version: str
    runners: int
    direct: Direct
    gateway: Gateway
    numbers: Iterator[int]  # a higher one for each scene, as history goes on counting


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=POOLS, ids=str)
async def sides(request, tmp_path_factory) -> AsyncIterator[Sides]:
    """Both sides, for all scenes of this module."""
    version, runners = request.param
    options = [{"version": version, "extra_nodes": EVERYWHERE} | COMMON for _ in range(runners)]
    options[0]["extra_nodes"] = (*EVERYWHERE, extra_node(ONLY_HERE))
    folder = tmp_path_factory.mktemp("gateway")
    async with (
        Simulator(SimulatorOptions(name="gpu-0", **options[0])) as simulator,
        running_pool(folder, runners, options=options, config=CONFIG) as pool,
    ):
        yield Sides(version, runners, Direct(simulator), Gateway(pool), count(step=100))


async def wrong_in(sides: Sides, scene: Scene) -> list[str]:
    """What differs between the two, and is not intended."""
    number = next(sides.numbers)
    word = f"scene{number}"
    theirs = await Stage.play(sides.direct, word, scene.steps, number)
    ours = await Stage.play(sides.gateway, word, scene.steps, number)
    if scene.apart and sides.runners > 1:
        theirs, ours = apart(theirs), apart(ours)
    return unexplained(scene.name, differences(theirs, ours), sides.version, sides.runners)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("scene", SCENES, ids=str)
async def test_a_scene_is_played_as_by_one_server(sides, scene):
    if sides.version not in scene.versions:
        pytest.skip("not known to this version")
    wrong = await wrong_in(sides, scene)
    assert not wrong, "\n".join(wrong)


def test_every_scene_has_a_name_of_its_own():
    assert len({scene.name for scene in SCENES}) == len(SCENES)
