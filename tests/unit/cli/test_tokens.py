"""`comfy-gateway tokens`, in the database of a configuration and over HTTP."""

import asyncio
import json

import pytest
import structlog
from support.owners import guarded_pool, token_of
from typer.testing import CliRunner

from gateway.access import secrets
from gateway.cli import app
from gateway.config import LogConfig
from gateway.logging import configure_logging


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in ("COMFY_GATEWAY_CONFIG", "COMFY_GATEWAY_URL", "COMFY_GATEWAY_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(f"data_dir: {tmp_path}/data\naccess: {{mode: tokens}}\nrunners: []\n")
    return str(path)


def tokens(*arguments, **environ):
    return CliRunner().invoke(app, ["tokens", *arguments], env=environ)


def listed(*arguments):
    return json.loads(tokens("list", "--json", *arguments).stdout)["tokens"]


class TestInTheDatabase:
    def test_a_new_tokens_text_is_all_that_stdout_gets(self, config):
        made = tokens("create", "alice", "--config", config)
        assert made.exit_code == 0
        assert secrets.is_token(made.stdout.strip())
        assert "of alice: run" in made.stderr
        assert "cgw_" not in made.stderr

    def test_all_that_may_be_said_of_one(self, config):
        options = "--owner studio --scope manage --scope run --tag sdxl --weight 2 --priority-ceiling 5 --rate 60"
        more = (
            "--pending 9 --running 3 --sockets 2 --body-bytes 4096 --max-stored-bytes 9000 --expires-in-days 7 --json"
        )
        made = json.loads(tokens("create", "the night shift", *f"{options} {more}".split(), "-c", config).stdout)
        assert (made["name"], made["owner"]) == ("the night shift", "studio")
        assert (made["scopes"], made["tags"], made["weight"]) == (["manage", "run"], ["sdxl"], 2)
        assert made["priority_ceiling"] == 5
        assert made["expires_at"] - made["created_at"] == pytest.approx(7 * 86_400_000, abs=5_000)
        jobs = {"pending": 9, "running": 3}
        assert made["limits"] == jobs | {"rate": 60, "sockets": 2, "body_bytes": 4_096, "max_stored_bytes": 9_000}

    def test_the_list_has_no_secrets_and_by_default_no_dead_ones(self, config):
        first = json.loads(tokens("create", "alice", "--json", "-c", config).stdout)
        tokens("create", "bob", "-c", config)
        assert tokens("revoke", first["id"], "-c", config).exit_code == 0
        table = tokens("list", "-c", config).stdout
        assert "bob" in table
        assert "alice" not in table
        assert "cgw_" not in table
        assert [each["state"] for each in listed("--all", "-c", config)] == ["revoked", "live"]
        assert [each["owner"] for each in listed("--all", "--owner", "alice", "-c", config)] == ["alice"]

    def test_a_rotated_one_lives_on(self, config):
        old = json.loads(tokens("create", "alice", "--json", "-c", config).stdout)
        new = json.loads(tokens("rotate", old["id"], "--grace-hours", "2", "--json", "-c", config).stdout)
        assert new["token"] != old["token"]
        before = next(each for each in listed("-c", config) if each["id"] == old["id"])
        assert (before["replaced_by"], before["state"]) == (new["id"], "live")
        assert before["expires_at"] - new["created_at"] == pytest.approx(2 * 3_600_000, abs=5_000)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("revoke", "nobody"), "There is no token nobody"),
            (("rotate", "nobody"), "There is no token nobody"),
            (("create", "two words"), "owner is required"),
            (("create", "x", "--scope", "root"), "scopes.0 must be 'run', 'manage' or 'admin'"),
            (("create", "x", "--weight", "0"), "weight must be greater than 0"),
        ],
    )
    def test_what_cannot_be_done_is_one_line(self, config, arguments, message):
        result = tokens(*arguments, "--config", config)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("error: ")
        assert message in result.stderr
        assert result.stderr.count("\n") == 1

    def test_a_wrong_configuration_is_code_2(self, tmp_path):
        (tmp_path / "wrong.yaml").write_text("runers: []")
        assert tokens("list", "-c", str(tmp_path / "wrong.yaml")).exit_code == 2

    def test_who_asks_for_no_tokens_is_told_so(self, tmp_path):
        (tmp_path / "open.yaml").write_text(f"data_dir: {tmp_path}/data\nrunners: []\n")
        result = tokens("create", "alice", "-c", str(tmp_path / "open.yaml"))
        assert result.exit_code == 0
        assert "access.mode is anonymous" in result.stderr


@pytest.fixture
def silent_gateway():
    """One in this process would log to what the command writes to."""
    configure_logging(LogConfig(level="critical"))
    yield
    structlog.reset_defaults()


async def test_at_a_running_gateway(tmp_path, silent_gateway):
    async with guarded_pool(tmp_path, 0) as pool:
        admin, other = await token_of(pool, "root", ("admin",)), await token_of(pool, "alice")
        where = {"COMFY_GATEWAY_URL": pool.base + "/", "COMFY_GATEWAY_TOKEN": admin}

        async def run(*arguments, **environ):
            return await asyncio.to_thread(tokens, *arguments, **{**where, **environ})

        made = json.loads((await run("create", "bob", "--json")).stdout)
        assert made["token"].startswith("cgw_")
        assert "bob" in (await run("list", "--owner", "bob")).stdout
        assert json.loads((await run("rotate", made["id"], "--json")).stdout)["owner"] == "bob"
        assert "is revoked" in (await run("revoke", made["id"])).stdout
        for result, message in (
            (await run("revoke", "nobody"), "There is no token nobody"),
            (await run("create", "x", "--scope", "root"), "scopes.0 must be"),
            (await run("list", COMFY_GATEWAY_TOKEN=other), "the scope 'admin'"),
            (await run("list", COMFY_GATEWAY_TOKEN="cgw_" + "x" * 43), "This token is not known"),
            (await run("list", COMFY_GATEWAY_URL="http://127.0.0.1:1"), "cannot be asked"),
            (await run("list", COMFY_GATEWAY_URL="nonsense"), "cannot be asked"),
        ):
            assert (result.exit_code, result.stdout) == (1, "")
            assert message in result.stderr, result.stderr
            assert "cgw_" not in result.stderr
