import shlex
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway import demo
from gateway.cli import app
from gateway.comfyui.graph import class_types
from gateway.config import Config, RunnerConfig


@pytest.fixture
def config():
    runner = RunnerConfig(name="simulated-0", endpoint="http://127.0.0.1:9001")
    return Config(runners=(runner,))


def test_the_graph_is_the_default_one():
    assert class_types(demo.demo_graph()) == {
        "CheckpointLoaderSimple",
        "CLIPTextEncode",
        "EmptyLatentImage",
        "KSampler",
        "SaveImage",
        "VAEDecode",
    }


def test_the_banner_names_the_url_the_runners_and_commands_to_paste(config):
    text = demo.banner("http://127.0.0.1:8188", Path("/tmp/demo/prompt.json"), config)
    commands = [shlex.split(line) for line in text.splitlines() if line.strip().startswith("curl")]
    assert [command[-1] for command in commands] == [
        "http://127.0.0.1:8188/prompt",
        "http://127.0.0.1:8188/api/jobs?limit=1",
        f"http://127.0.0.1:8188/view?filename={demo.PICTURE}",
    ]
    assert "@/tmp/demo/prompt.json" in commands[0]
    assert "simulated-0  http://127.0.0.1:9001" in text


def test_a_taken_port_gives_way_to_a_free_one(capsys):
    with socket.create_server((demo.HOST, 0)) as taken:
        wanted = taken.getsockname()[1]
        port = demo._port_for(wanted)
    assert port != wanted
    assert capsys.readouterr().out == f"Port {wanted} is taken; using {port}.\n"


def test_a_free_port_is_kept(unused_tcp_port, capsys):
    assert demo._port_for(unused_tcp_port) == unused_tcp_port
    assert demo._port_for(0) > 0
    assert capsys.readouterr().out == ""


def test_a_missing_frontend_is_one_line(monkeypatch):
    monkeypatch.setattr(demo, "FRONTEND", "no_such_module")
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: the stock frontend is not installed")
    assert result.stderr.count("\n") == 1
