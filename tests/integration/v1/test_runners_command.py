"""`comfy-gateway runners` against a running gateway."""

import asyncio
import json
import os
import socket
import sys
from asyncio.subprocess import PIPE

import pytest

from gateway.access.token import Token

from .conftest import gateway_api

UNUSED = "http://127.0.0.1:9"  # the discard service, which nobody has


@pytest.fixture
def command(api):
    return Command(api)


class Command:
    """The command in a process of its own."""

    def __init__(self, api, **environ):
        self.environ = {**os.environ, "COMFY_GATEWAY_URL": api.base, "COMFY_GATEWAY_TOKEN": "", **environ}

    async def __call__(self, *arguments, code=0):
        """What it prints: stdout where it is well, stderr where it is not."""
        program = (sys.executable, "-m", "gateway", "runners", *arguments)
        process = await asyncio.create_subprocess_exec(*program, stdout=PIPE, stderr=PIPE, env=self.environ)
        stdout, stderr = await process.communicate()
        assert process.returncode == code, (stdout, stderr)
        return (stdout if code == 0 else stderr or stdout).decode()

    async def listed(self, *arguments):
        return {each["key"]: each for each in json.loads(await self("list", "--json", *arguments))["runners"]}


async def test_the_list_shows_each_with_its_health(api, command):
    table = await command("list")
    assert [line.split()[0] for line in table.splitlines()] == ["key", "gpu-0"]
    assert api.pool.simulators[0].url in table
    assert " up " in table
    assert "config" in table


async def test_added_it_waits_until_it_is_up(api, command, spare):
    told = await command("add", "spare", spare.url, "--tag", "sdxl", "--tag", "a100", "--header", "X-Key: the value")
    assert told == "Runner spare is active, and up.\n"
    runner = (await command.listed())["spare"]
    assert (runner["tags"], runner["headers"], runner["source"]) == (["sdxl", "a100"], {"X-Key": "********"}, "api")
    assert api.pool.rooms.pool.get("spare").config.plain_headers() == {"X-Key": "the value"}


async def test_headers_may_come_from_a_file(api, command, spare, tmp_path):
    file = tmp_path / "headers"
    file.write_text("Authorization: Bearer a:b\n\nX-Other: c\n")
    await command("add", "spare", spare.url, "--header-file", str(file))
    headers = api.pool.rooms.pool.get("spare").config.plain_headers()
    assert headers == {"Authorization": "Bearer a:b", "X-Other": "c"}
    assert "no-such-file" in await command("add", "x", spare.url, "--header-file", "no-such-file", code=1)
    assert "Name: value" in await command("add", "x", spare.url, "--header", "nothing", code=2)


async def test_one_that_is_down_is_added_and_told_so(command):
    told = await command("add", "gone", UNUSED, "--wait", "0.3", code=1)
    assert told.startswith("Runner gone is active, and down (")
    assert (await command("add", "later", UNUSED, "--wait", "0")).startswith("Runner later is active, and down (")
    assert {"gone", "later"} < (await command.listed()).keys()


async def test_disabled_enabled_drained_removed(api, command, spare):
    await command("add", "Spare one", spare.url)
    key = next(iter((await command.listed()).keys() - {"gpu-0"}))
    assert await command("disable", "gpu-0", "Spare one") == (
        f"Runner gpu-0 is disabled, and up.\nRunner {key} is disabled, and up.\n"
    )
    assert (await command.listed("--status", "active")) == {}
    assert json.loads(await command("enable", key, "--json"))["runners"][0]["status"] == "active"
    assert await command("drain", key, "--seconds", "0") == f"Runner {key} is disabled, and up.\n"
    assert api.pool.rooms.pool.get(key).config.status == "drain"
    runner_id = (await command.listed())[key]["id"]
    assert await command("remove", runner_id) == f"Runner {runner_id} is removed.\n"
    assert (await command.listed()).keys() == {"gpu-0"}


async def test_what_cannot_be_done_is_told_in_one_line(command):
    assert await command("disable", "gpu-0", "nobody", code=1) == "error: there is no runner nobody\n"
    assert (await command.listed())["gpu-0"]["status"] == "active"
    assert "only its status" in await command("remove", "gpu-0", code=1)
    assert "endpoint must start with http" in await command("add", "x", "gpu", code=1)
    assert "status must be" in await command("list", "--status", "x", code=1)


async def test_two_of_one_name_are_told_apart_by_key(command):
    for _ in range(2):
        await command("add", "twin two", UNUSED, "--wait", "0")
    told = await command("disable", "twin two", code=1)
    assert told.startswith("error: several runners are called twin two: twin-two-")


async def test_without_a_gateway_it_says_so(api):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        told = await Command(api, COMFY_GATEWAY_URL=url)("list", code=1)
    assert told.startswith(f"error: {url} cannot be asked: ")
    assert told.count("\n") == 1


async def test_at_something_else_it_says_so(api, spare):
    told = await Command(api, COMFY_GATEWAY_URL=spare.url)("list", code=1)
    assert told == "error: the gateway answered 404\n"


async def test_many_are_listed_whole(api, command):
    for number in range(101):
        await api.post("/v1/runner", {"name": f"r{number}", "endpoint": UNUSED}, 201)
    assert len(await command.listed()) == 102


async def test_a_token_is_asked_for_and_has_to_permit_it(tmp_path):
    async with gateway_api(tmp_path, config={"access": {"mode": "tokens"}}) as api:
        create = api.pool.rooms.access.tokens.create
        told = await Command(api)("list", code=1)
        assert told.endswith("give one with --token or COMFY_GATEWAY_TOKEN\n")
        for scope, code in (("run", 1), ("manage", 0)):
            scopes = frozenset({"run", scope})
            _, secret = await create(Token(id="", name="t", owner="ada", scopes=scopes, created_at=0))
            told = await Command(api, COMFY_GATEWAY_TOKEN=secret)("list", code=code)
            assert ("scope 'manage'" in told) == bool(code)
