"""The gateway passes the recordings of real servers as the simulator does, but for what is intended.

The harness is the simulator's own (`support.replay`). Here `status` frames are left out (`differential.plain`), and a
prompt with an id that is no UUID, which 0.33.0 refuses and a gateway runs.
"""

from __future__ import annotations

import aiohttp
import pytest
from differential.intended import NEW, OLD, unexplained
from differential.plain import plain
from support.pools import running_pool
from support.recorded import differing
from support.replay import SPEED, Replay
from support.servers import Gateway

NOT_REFUSED = {NEW: {"prompt_client_supplied_id_not_uuid"}, OLD: set()}


@pytest.mark.parametrize("version", [NEW, OLD])
async def test_the_gateway_gives_what_a_real_server_gave(tmp_path, version):
    options = {"name": "cpu", "version": version, "base_dir": tmp_path / "runner", "checkpoints": (), "speed": SPEED}
    async with (
        running_pool(tmp_path / "gateway", 1, options=[options | {"draw": True}]) as pool,
        aiohttp.ClientSession(pool.base) as session,
    ):
        replay = Replay(Gateway(pool), session)
        await replay.open()
        found = await differing(replay, plain, NOT_REFUSED[version])
        wrong = [
            f"{name}: {line}"
            for name in replay.recording
            for line in unexplained(f"recording: {name}", found.get(name, []), version, 1)
        ]
        assert not wrong, "\n".join(wrong)
