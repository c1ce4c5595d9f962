"""One gateway with little patience over one simulated runner."""

import aiohttp
import pytest
from support.nodes import ROUTES
from support.pools import running_pool

NODES = [{"extra_routes": ROUTES}]
PATIENCE = {"idle_seconds": 1.0, "body_seconds": 0.3, "max_upload_size": 1_000_000}


@pytest.fixture
async def impatient(tmp_path):
    """A gateway whose deadlines are short, and whose limit of bodies is small."""
    async with running_pool(tmp_path / "data", 1, options=NODES, config={"server": {"port": 0, **PATIENCE}}) as running:
        yield running


@pytest.fixture
async def pool(tmp_path):
    """A gateway as it is by default."""
    async with running_pool(tmp_path / "data", 1, options=NODES) as running:
        yield running


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session
