import pytest
from typer.testing import CliRunner

from gateway.simulator import SimulatorOptions, command

MODELS = ("--model", "loras/x", "--model", "vae/v", "--model", "loras/y/z")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[SimulatorOptions]:
    """The options of the runners that the command would start."""
    options: list[SimulatorOptions] = []
    monkeypatch.setattr(command, "run_all", lambda given, **_: options.extend(given))
    return options


def invoke(*arguments: str) -> int:
    return CliRunner().invoke(command.app, arguments).exit_code


def test_options_reach_the_runner(started: list[SimulatorOptions]) -> None:
    arguments = "--port 9 --name gpu --comfyui 0.3.64 --checkpoint a --checkpoint b --speed 5 --no-draw --no-previews"
    assert (
        invoke(*arguments.split(), "--require-header", "Authorization: Bearer x", "--extra-node", "Other", *MODELS) == 0
    )
    [options] = started
    assert (options.port, options.name, options.version) == (9, "gpu", "0.3.64")
    assert (options.checkpoints, options.speed) == (("a", "b"), 5.0)
    assert options.models == {"loras": ("x", "y/z"), "vae": ("v",)}
    assert (options.draw, options.preview_size) == (False, 0)
    assert options.required_header == ("Authorization", "Bearer x")
    assert options.extra_nodes[0].definition.name == "Other"


def test_several_ports_make_several_runners(started: list[SimulatorOptions]) -> None:
    assert invoke("--port", "1", "--port", "2") == 0
    assert [options.name for options in started] == ["runner-1", "runner-2"]


@pytest.mark.parametrize("wrong", [["--comfyui", "1.0"], ["--require-header", "nothing"], ["--model", "nothing"]])
def test_what_cannot_be(started: list[SimulatorOptions], wrong: list[str]) -> None:
    assert invoke("--port", "1", *wrong) == 2
    assert started == []
