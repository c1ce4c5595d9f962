"""The jobs room over one runner that is played by hand."""

import pytest
from support.room import jobs_room


@pytest.fixture
async def room(tmp_path):
    async with jobs_room(tmp_path) as opened:
        yield opened
