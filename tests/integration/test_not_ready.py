"""What ``/gateway/ready`` says of runners that are not there."""

import json

from support.client import Client
from support.pools import gateway_over
from support.processes import free_port

from gateway.runners.runner import RunnerState

CHECKED_SELDOM = {"interval_seconds": 60, "timeout_seconds": 5, "grace_seconds": 60}


async def test_it_says_at_once_why_a_runner_cannot_be_reached(tmp_path):
    nowhere = {"name": "gpu-0", "endpoint": f"http://127.0.0.1:{free_port()}"}
    config = {"runners": [nowhere], "health": CHECKED_SELDOM}
    async with gateway_over(tmp_path, [], config=config) as pool, Client.connected(pool.base) as client:
        (runner,) = pool.rooms.pool
        await pool.until(lambda: "not connected yet" not in runner.health.reason)
        assert runner.health.state is RunnerState.CONNECTING
        async with client.http.get(pool.base + "/gateway/ready") as answer:
            assert answer.status == 503
            (reason,) = json.loads(await answer.text())["reasons"]
    assert "gpu-0 is connecting: link: " in reason
    assert "Connect call failed" in reason
