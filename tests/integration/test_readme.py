"""What the README says to paste works as pasted."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.png import graph_of

README = Path(__file__).parents[2] / "README.md"
DEMO = "http://127.0.0.1:8188"  # where `make demo` is, unless that port is taken


def block_under(heading: str) -> str:
    """The first block of code under a heading."""
    found = re.search(rf"^## {re.escape(heading)}$.*?^```\w*\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None, heading
    return found[1]


@pytest.fixture
def demo(tmp_path):
    """The address of a demo of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "demo", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        start_new_session=True,
    )
    try:
        addresses = (re.fullmatch(r"\s*(http://127\.0\.0\.1:\d+)/\s*", line) for line in process.stdout)
        yield next(found[1] for found in addresses if found)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.skipif(shutil.which("curl") is None, reason="the lines need curl")
def test_the_first_job_over_the_api(demo, tmp_path):
    lines = block_under("First job over the API in five lines")
    assert len(lines.splitlines()) == 5
    assert DEMO in lines
    subprocess.run(["sh", "-c", lines.replace(DEMO, demo)], cwd=tmp_path, check=True, timeout=90)
    graph = graph_of((tmp_path / "hello.png").read_bytes())
    assert graph["2"]["inputs"]["filename_prefix"] == "hello"
