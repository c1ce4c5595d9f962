"""The gateway answers as one runner does: each request of the tables goes to both, over one runner and over three."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio
from differential.intended import NEW, OLD, unexplained
from differential.requests import Case, ask, client
from differential.single_requests import CASES, MOST_BYTES
from differential.stories import STORIES
from support.differences import differences
from support.nodes import ROUTES
from support.pools import RunningPool, running_pool

POOLS = [(version, runners) for version in (NEW, OLD) for runners in (1, 3)]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=POOLS, ids=str)
async def over(request, tmp_path_factory) -> AsyncIterator[tuple[str, int, RunningPool]]:
    """A version, the number of runners of that version, and a gateway over them."""
    version, runners = request.param
    options = {"version": version, "max_upload_size": MOST_BYTES, "extra_routes": ROUTES}
    config = {"server": {"port": 0, "max_upload_size": MOST_BYTES}}
    folder = tmp_path_factory.mktemp("gateway")
    async with running_pool(folder, runners, options=[options] * runners, config=config) as pool:
        yield version, runners, pool


async def wrong_in(over: tuple[str, int, RunningPool], cases: Sequence[Case]) -> list[str]:
    """What differs, and is not intended, between the first runner's answers and the gateway's."""
    version, runners, pool = over
    runner = pool.simulators[0]
    wrong = []
    async with client() as http:
        for case in cases:
            theirs = await ask(http, runner.url, case, str(runner.folders.base))
            ours = await ask(http, pool.base, case, str(runner.folders.base))
            found = differences(theirs, ours)
            wrong += [f"{case}: {line}" for line in unexplained(str(case), found, version, runners)]
    return wrong


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_request_is_answered_as_by_the_runner(over, case):
    if over[0] not in case.versions:
        pytest.skip("not known to this version")
    wrong = await wrong_in(over, [case])
    assert not wrong, "\n".join(wrong)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("story", STORIES)
async def test_a_story_is_told_as_to_the_runner(over, story):
    wrong = await wrong_in(over, STORIES[story])
    assert not wrong, "\n".join(wrong)
