"""Running the example script in a process of its own."""

import asyncio
import base64
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support import websocket_example


async def run_script(base: str, graphs: Sequence[dict[str, Any]], *flags: str) -> list[dict[str, Any]]:
    """Runs the script for these graphs; returns its lines."""
    script = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(websocket_example.__file__)),
        base.removeprefix("http://"),
        *flags,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await script.communicate("".join(json.dumps(graph) + "\n" for graph in graphs).encode())
    finally:
        if script.returncode is None:
            script.kill()
    assert script.returncode == 0, err.decode()
    return [json.loads(line) for line in out.splitlines()]


def pictures_of(line: dict[str, Any]) -> list[bytes]:
    """The files that the script fetched for one prompt."""
    return [base64.b64decode(file) for file in line["files"]]
