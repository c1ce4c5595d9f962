"""The first start of a gateway that asks for tokens shows an admin's, once, and not through the log."""

import asyncio
import json
import re
import sys

import aiohttp
import pytest
import yaml
from support.processes import child, free_port

pytestmark = pytest.mark.timeout(120)

TOKEN = re.compile(r"cgw_[A-Za-z0-9_-]{43}")


@pytest.fixture
def start(tmp_path):
    """Starts a gateway over the same data; what each writes is in a file of its own."""

    def started(number, **access):
        port = free_port()
        config = {
            "server": {"port": port},
            "data_dir": str(tmp_path / "data"),
            "runners": [],
            "access": {"mode": "tokens", **access},
            "log": {"format": "json"},
        }
        path = tmp_path / f"config-{number}.yaml"
        path.write_text(yaml.safe_dump(config))
        log = tmp_path / f"log-{number}"
        return child(
            f"http://127.0.0.1:{port}", log, "gateway", "serve", "--config", str(path), alive="/gateway/health"
        )

    return started


async def may_administer(running, token):
    async with aiohttp.ClientSession(headers={"X-API-Key": token}) as http:
        answer = await http.get(f"{running.url}/gateway/api/tokens")
        return answer.status == 200


async def test_it_is_shown_once(start):
    async with start(1) as running:
        assert await running.terminate() == 0
        (token,) = TOKEN.findall(running.output)
        logged = [json.loads(line) for line in running.output.splitlines() if line.startswith("{")]
        assert logged
        assert token not in json.dumps(logged)
        running.log.write_text(running.output.replace(token, "shown once"))  # of files that stay, no other has a token
    async with start(2) as running:
        assert await may_administer(running, token)
        assert await running.terminate() == 0
        assert not TOKEN.findall(running.output)


async def test_none_is_made_where_one_is_configured(start):
    configured = "cgw_" + "c" * 40
    async with start(1, admin_token=configured) as running:
        assert await may_administer(running, configured)
        assert await running.terminate() == 0
        assert "cgw_" not in running.output


async def test_none_is_made_where_the_command_line_made_one(start, tmp_path):
    async with start(1, mode="anonymous") as running:
        await running.terminate()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "tokens", "create", "root", "--scope", "admin"),
        *("--config", str(tmp_path / "config-1.yaml")),
        stdout=asyncio.subprocess.PIPE,
    )
    token = (await process.communicate())[0].decode().strip()
    async with start(2) as running:
        assert await may_administer(running, token)
        assert await running.terminate() == 0
        assert "cgw_" not in running.output
