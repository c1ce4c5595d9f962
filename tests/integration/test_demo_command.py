import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest


@pytest.fixture
def demo(tmp_path):
    """The demo as a user starts it, with what it printed until it was ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "demo", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        start_new_session=True,
    )
    try:
        printed = ""
        for line in process.stdout:
            printed += line
            if "Ctrl-C" in line:
                break
        else:
            pytest.fail(f"the demo ended early: {process.stderr.read()}")
        yield process, printed
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def commands_in(printed: str) -> list[str]:
    return [line.strip() for line in printed.splitlines() if line.strip().startswith("curl")]


def run(command: str, folder: Path) -> str:
    return subprocess.run(
        command, shell=True, cwd=folder, capture_output=True, text=True, timeout=90, check=True
    ).stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="the printed commands need curl")
def test_the_printed_commands_give_a_picture(demo, tmp_path):
    _, printed = demo
    submit, result, picture = commands_in(printed)
    accepted = json.loads(run(submit, tmp_path))
    assert accepted["node_errors"] == {}
    (job,) = json.loads(run(result, tmp_path))["jobs"]
    assert job["id"] == accepted["prompt_id"]
    run(picture, tmp_path)
    assert (tmp_path / "demo_00001_.png").read_bytes().startswith(b"\x89PNG")
    (job,) = json.loads(run(result, tmp_path))["jobs"]
    assert job["status"] in ("in_progress", "completed")


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_of_it(demo, tmp_path, stop):
    process, printed = demo
    url = re.search(r"http://127\.0\.0\.1:\d+/", printed)[0]
    with urllib.request.urlopen(url, timeout=30) as response:
        assert b"<html" in response.read().lower()
    os.killpg(process.pid, stop)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("comfy-gateway-demo")] == []
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
