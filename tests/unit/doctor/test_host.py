import shutil
import socket
import sqlite3
from collections import namedtuple

import pytest

from gateway.config import Config
from gateway.doctor import host
from gateway.storage import meta
from gateway.storage.database import Database

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def config(tmp_path):
    return Config.model_validate({"runners": [], "data_dir": tmp_path, "server": {"port": 0}})


@pytest.fixture
async def made(config):
    """A database of the gateway, closed again."""
    async with await Database.open(config.database_url) as db:
        await db.write(meta.set_meta("gateway_id", "abc"))
    return host.database_file(config)


def whats(config, serves=False):
    return [finding.what for finding in host.findings_of(config, serves=serves)]


def test_a_new_machine_is_fine_and_nothing_is_made(config, tmp_path):
    assert whats(config) == []
    assert list(tmp_path.iterdir()) == []
    assert host.gateway_id(config) is None


async def test_a_good_database(config, made):
    assert whats(config) == []
    assert host.gateway_id(config) == "abc"


async def test_a_damaged_database_is_left_as_it_is(config, made):
    content = bytearray(made.read_bytes())
    content[100:4096] = b"\xff" * (4096 - 100)
    made.write_bytes(content)
    (what,) = whats(config)
    assert "malformed" in what or "damaged" in what
    assert made.read_bytes() == content


async def test_no_database_at_all(config, made):
    made.write_bytes(b"hello, this is a text file" * 100)
    assert "not a database" in whats(config)[0]


async def test_a_database_that_another_program_has_locked(config, made):
    connection = sqlite3.connect(made)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        assert "locked" in whats(config)[0]
    finally:
        connection.close()


async def test_a_database_in_use_by_another_gateway(config):
    async with await Database.open(config.database_url):
        (what,) = whats(config)
        assert "in use by another gateway (process" in what
        assert whats(config, serves=True) == []


def test_a_port_in_use(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = Config.model_validate({"runners": [], "data_dir": tmp_path, "server": {"port": port}})
        (what,) = whats(config)
        assert what.startswith(f"cannot listen on 127.0.0.1 port {port}: ")
        assert whats(config, serves=True) == []


@pytest.mark.parametrize(("free", "severities"), [(100 << 20, ["problem"]), (1 << 30, ["hint"]), (50 << 30, [])])
def test_the_disk(config, monkeypatch, free, severities):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100 << 30, 0, free))
    assert [finding.severity for finding in host.findings_of(config, serves=False)] == severities


def test_a_frontend_that_is_not_there(tmp_path):
    config = Config.model_validate(
        {"runners": [], "data_dir": tmp_path, "server": {"port": 0}, "frontend": {"root": tmp_path}}
    )
    (what,) = whats(config)
    assert what == f"the frontend cannot be served: there is no frontend in {tmp_path}"


def test_no_right_to_write(config, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    assert whats(config)[0].startswith("no right to write into ")


@pytest.mark.parametrize(
    ("server", "access", "told"),
    [
        ({"host": "0.0.0.0"}, {"allow_anonymous": True}, True),
        ({"host": "0.0.0.0", "allowed_hosts": ["comfy.example"]}, {"allow_anonymous": True}, False),
        ({"host": "0.0.0.0"}, {"mode": "tokens"}, False),
        ({"host": "127.0.0.1"}, {}, False),
    ],
)
def test_any_name_without_tokens(tmp_path, server, access, told):
    keys = {"runners": [], "data_dir": tmp_path, "server": {"port": 0, **server}, "access": access}
    found = list(host.findings_of(Config.model_validate(keys), serves=False))
    assert [(each.severity, "host name" in each.what) for each in found] == [("hint", True)] * told
