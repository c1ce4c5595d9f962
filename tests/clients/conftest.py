"""Unmodified clients of ComfyUI over a gateway and three simulated runners, all in the test's own event loop; what is
foreign (browser, node, other Pythons) runs in processes of its own.
"""

import pytest
from support.frontends import FRONTENDS, seen_before
from support.pools import running_pool


@pytest.fixture(params=FRONTENDS, ids=lambda each: each.version)
def frontend(request):
    return request.param


@pytest.fixture
async def pool(tmp_path):
    """A gateway over three simulated ComfyUI of the newest kind."""
    async with running_pool(tmp_path) as running:
        yield running


@pytest.fixture
async def browsed_pool(frontend, tmp_path):
    """A gateway with the frontend over three simulated ComfyUI that came with it."""
    options = [{"name": f"gpu-{number}", **frontend.options()} for number in range(3)]
    async with running_pool(tmp_path, options=options, config={"frontend": {"root": frontend.root}}) as running:
        await seen_before(running.base)
        yield running
