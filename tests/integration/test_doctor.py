"""The doctor over simulated runners, and beside a gateway that serves."""

import asyncio
import json

import yaml
from support.client import Client
from support.graphs import save_graph
from support.pools import running_pool
from typer.testing import CliRunner

from gateway.cli import app
from gateway.doctor.examination import diagnose


def whats(findings, severity="problem"):
    return [(finding.runner, finding.what) for finding in findings if finding.severity == severity]


async def test_nothing_is_wrong_with_a_pool_that_serves(tmp_path):
    async with running_pool(tmp_path, 2) as pool:
        findings = await diagnose(pool.config, pool.base, watch_seconds=0)
        assert whats(findings) == []


async def test_a_websocket_that_a_proxy_blocks_and_what_the_gateway_says_of_it(tmp_path):
    async with running_pool(tmp_path, 2) as pool:
        blocked = pool.simulator("gpu-1")
        blocked.faults.refuse_websockets = True
        blocked.drop_websockets()
        await pool.until(lambda: not pool.rooms.pool.get("gpu-1").is_ready)
        told = whats(await diagnose(pool.config, pool.base, watch_seconds=0))
        assert [runner for runner, _ in told] == ["gpu-1", "gpu-1"]
        assert told[0][1].startswith("HTTP works, the websocket does not: 503")
        assert told[1][1].startswith("the gateway has it as suspect: link")


async def test_the_gateways_own_jobs_are_told_from_those_of_others(tmp_path):
    async with running_pool(tmp_path, 1) as pool, Client.connected(pool.base) as client:
        (runner,) = pool.simulators
        runner.pause()
        job = await client.submit(save_graph(1))
        await runner.held()
        assert whats(await diagnose(pool.config, pool.base, watch_seconds=0), "hint") == []
        async with client.http.post(f"{runner.url}/prompt", json={"prompt": save_graph(2)}) as answer:
            assert answer.status == 200
        hints = whats(await diagnose(pool.config, pool.base, watch_seconds=0), "hint")
        assert hints == [("gpu-0", "1 prompts in its queue are not this gateway's")]
        runner.resume()
        await client.hear_end(job)


async def test_the_command_and_its_exit_codes(tmp_path, unused_tcp_port):
    async with running_pool(tmp_path / "gateway", 1) as pool:
        good = {"name": "gpu-0", "endpoint": pool.simulators[0].url}
        gone = {"name": "gone", "endpoint": f"http://127.0.0.1:{unused_tcp_port}"}
        for runners, code in (([good], 0), ([good, gone], 1), ([{"name": "gpu-0"}], 2)):
            path = tmp_path / "config.yaml"
            path.write_text(
                yaml.safe_dump({"runners": runners, "data_dir": str(tmp_path / "data"), "server": {"port": 0}})
            )
            command = ["doctor", "--config", str(path), "--json"]
            result = await asyncio.to_thread(CliRunner().invoke, app, command)
            assert result.exit_code == code, result.output
            if code == 1:
                (finding,) = json.loads(result.stdout)["findings"]
                assert (finding["runner"], finding["severity"]) == ("gone", "problem")
