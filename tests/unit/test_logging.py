import json
import logging

import pytest
import structlog

from gateway.config import LogConfig
from gateway.logging import configure_logging
from gateway.redaction import KNOWN


@pytest.fixture
def configure():
    """Configures logging, and puts everything back afterwards."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        yield lambda **keys: configure_logging(LogConfig(**keys))
    finally:
        structlog.reset_defaults()
        root.setLevel(level)
        root.handlers[:] = handlers


def test_json_lines_carry_the_context(configure, capsys):
    configure(format="json")
    with structlog.contextvars.bound_contextvars(job="j1", runner="gpu-0"):
        structlog.get_logger("gateway.jobs").info("dispatched", attempt=1)
        logging.getLogger("aiohttp.server").error("failed: %s", "x")
    ours, theirs = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (
        ours.items() >= {"event": "dispatched", "job": "j1", "runner": "gpu-0", "attempt": 1, "level": "info"}.items()
    )
    assert ours["logger"] == "gateway.jobs"
    assert ours["timestamp"].endswith("Z")
    assert theirs.items() >= {"event": "failed: x", "job": "j1", "logger": "aiohttp.server"}.items()


def test_text_for_people(configure, capsys):
    configure(format="console")
    structlog.get_logger().warning("lost", runner="gpu-0")
    assert "lost" in (text := capsys.readouterr().err)
    assert "runner=gpu-0" in text


def test_auto_is_json_without_a_terminal(configure, capsys):
    configure(format="auto")
    structlog.get_logger().warning("lost")
    assert json.loads(capsys.readouterr().err)["event"] == "lost"


def test_levels_hold_for_both_worlds(configure, capsys):
    configure(level="warning", format="json")
    structlog.get_logger().info("no")
    logging.getLogger("aiohttp").info("no")
    structlog.get_logger().warning("yes")
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_libraries_do_not_chat(configure, capsys):
    configure(level="debug", format="json")
    logging.getLogger("sqlalchemy.engine").info("SELECT 1")
    logging.getLogger("alembic.runtime").info("upgrade")
    assert capsys.readouterr().err == ""


def test_configured_twice_logs_once(configure, capsys):
    configure(format="json")
    configure(format="json")
    structlog.get_logger().warning("once")
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_local_variables_stay_out_of_tracebacks(configure, capsys):
    configure(format="json")
    token = "".join(["s3", "cret"])
    try:
        int(token[:0])
    except ValueError:
        structlog.get_logger().exception("failed")
    (line,) = capsys.readouterr().err.splitlines()
    assert "ValueError" in json.loads(line)["exception"]
    assert "s3cret" not in line


def test_known_secrets_are_masked_in_messages_and_tracebacks(configure, capsys):
    configure(format="json")
    KNOWN.add(["whoever-reads-this"])
    try:
        raise ValueError("refused whoever-reads-this")
    except ValueError as error:
        structlog.get_logger().exception("failed with whoever-reads-this", error=error, parts=[b"whoever-reads-this"])
        logging.getLogger("aiohttp.server").exception("failed for %s", "whoever-reads-this")
    lines = capsys.readouterr().err
    assert len(lines.splitlines()) == 2
    assert "whoever-reads-this" not in lines
    assert lines.count("ValueError: refused [redacted]") == 2
