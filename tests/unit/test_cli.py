import asyncio
import errno
import json
import subprocess
import sys
import types

import pytest
import structlog
from aiohttp import web
from typer.testing import CliRunner

from gateway.cli import app
from gateway.storage.errors import StorageError

SECRET = "s3cret-t0ken"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    monkeypatch.delenv("COMFY_GATEWAY_CONFIG", raising=False)
    yield
    structlog.reset_defaults()


@pytest.fixture
def config_file(tmp_path):
    def write(text):
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture
def serve_as(monkeypatch):
    """Puts a function in the place of the real gateway."""

    def put(serve):
        monkeypatch.setitem(sys.modules, "gateway.serving", types.SimpleNamespace(serve=serve))

    return put


def invoke(*arguments, **environ):
    return CliRunner().invoke(app, list(arguments), env=environ)


class TestServe:
    def test_runs_the_gateway_with_the_configuration(self, config_file, serve_as):
        served = []

        async def serve(config, _read):
            served.append(config.server.port)

        serve_as(serve)
        result = invoke("serve", "--config", config_file("runners: []\nserver: {port: 9000}"))
        assert (result.exit_code, served) == (0, [9000])

    def test_the_file_can_be_named_in_the_environment(self, config_file, serve_as):
        async def serve(_config, _read):
            pass

        serve_as(serve)
        assert invoke("serve", COMFY_GATEWAY_CONFIG=config_file("runners: []")).exit_code == 0

    def test_faults_are_lines_on_stderr_and_exit_code_2(self, config_file):
        path = config_file(
            "server: {prot: 1}\n"
            f"runners:\n  - {{name: a, endpoint: 'http://u:{SECRET}@h'}}\n"
            f"log: {{level: {SECRET}}}\n"
        )
        result = invoke("serve", "--config", path)
        assert result.exit_code == 2
        assert [line.removeprefix(path).split(": ")[:2] for line in result.stderr.splitlines()] == [
            [":1", "server.prot"],
            [":3", "runners[0].endpoint"],
            [":4", "log.level"],
        ]
        assert SECRET not in result.output

    def test_a_missing_file(self, tmp_path):
        result = invoke("serve", "--config", str(tmp_path / "no.yaml"))
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)

    def test_beyond_loopback_without_consent(self, config_file):
        result = invoke("serve", "--config", config_file("runners: []\nserver: {host: 0.0.0.0}"))
        assert result.exit_code == 2
        assert "server.host" in result.stderr

    @pytest.mark.parametrize(
        ("error", "message"),
        [
            (StorageError("database x: is in use"), "error: database x: is in use\n"),
            (
                OSError(errno.EADDRINUSE, "address already in use"),
                "error: cannot listen on 127.0.0.1 port 8188: the port is already in use\n",
            ),
            (PermissionError(errno.EACCES, "Permission denied"), "8188: Permission denied\n"),
        ],
    )
    def test_what_stops_the_start_is_one_line_and_exit_code_1(self, config_file, serve_as, error, message):
        async def serve(_config, _read):
            raise error

        serve_as(serve)
        result = invoke("serve", "--config", config_file("runners: []"))
        assert result.exit_code == 1
        assert result.stderr.endswith(message)
        assert result.stderr.count("\n") == 1

    def test_a_fault_of_the_program_is_not_hidden(self, config_file, serve_as):
        async def serve(_config, _read):
            raise OSError(errno.ENOSPC, "No space left on device")

        serve_as(serve)
        result = invoke("serve", "--config", config_file("runners: []"))
        assert isinstance(result.exception, OSError)


class TestCheck:
    @pytest.fixture
    async def endpoint(self, aiohttp_server):
        answers = {
            "/system_stats": {
                "system": {"comfyui_version": "0.33.0"},
                "devices": [{"name": "cuda:0", "vram_total": 8 << 30, "vram_free": 4 << 30}],
            },
            "/prompt": {"exec_info": {"queue_remaining": 3}},
            "/object_info": {"KSampler": {}, "SaveImage": {}},
        }

        async def answer(request):
            if request.headers.get("X-Key") != SECRET:
                return web.Response(status=401)
            return web.json_response(answers[request.path])

        fake = web.Application()
        fake.router.add_get("/{path}", answer)
        return f"http://127.0.0.1:{(await aiohttp_server(fake)).port}"

    async def check(self, path, *options):
        return await asyncio.to_thread(invoke, "check", "--config", path, *options, KEY=SECRET)

    def runners(self, endpoint, key):
        return f"runners: [{{name: gpu-0, endpoint: '{endpoint}', tags: [sdxl], headers: {{X-Key: '{key}'}}}}]"

    async def test_a_table_and_0_when_all_answer(self, config_file, endpoint):
        result = await self.check(config_file(self.runners(endpoint, "${KEY}")))
        assert result.exit_code == 0
        for text in ("gpu-0", endpoint, "ok", "0.33.0", "cuda:0", "4.0 / 8.0 GiB", "sdxl"):
            assert text in result.stdout
        assert SECRET not in result.output

    async def test_reasons_and_1_when_one_does_not(self, config_file, endpoint):
        result = await self.check(config_file(self.runners(endpoint, "wrong-key")))
        assert result.exit_code == 1
        assert "gpu-0: 401: GET /system_stats answered 401" in result.stdout
        assert "wrong-key" not in result.output

    async def test_json(self, config_file, endpoint):
        result = await self.check(config_file(self.runners(endpoint, "${KEY}")), "--json")
        (told,) = json.loads(result.stdout)["runners"]
        assert (result.exit_code, told["status"], told["node_classes"]) == (0, "ok", 2)
        assert SECRET not in result.output

    def test_no_runners(self, config_file):
        result = invoke("check", "--config", config_file("runners: []"))
        assert (result.exit_code, "names no runners" in result.stdout) == (0, True)

    def test_a_wrong_file(self, config_file):
        result = invoke("check", "--config", config_file("runners: 5"))
        assert (result.exit_code, "must be a list" in result.stderr) == (2, True)


class TestSimulate:
    def test_its_help_is_the_simulators(self):
        result = invoke("simulate", "--help")
        assert result.exit_code == 0
        assert "--port" in result.stdout


def test_python_m_gateway_is_the_command():
    result = subprocess.run(
        [sys.executable, "-m", "gateway", "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    for command in ("serve", "check", "simulate", "demo"):
        assert command in result.stdout


def test_help_imports_no_servers():
    code = "import sys, gateway.cli; print([m for m in ('aiohttp', 'sqlalchemy', 'numpy', 'PIL') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == "[]"
