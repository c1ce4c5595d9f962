"""Other people's programs, run to their end beside the test's own event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PATIENCE_SECONDS = 90.0
QUIET = {"DO_NOT_TRACK": "1", "NO_COLOR": "1", "COLUMNS": "200"}


@dataclass(frozen=True)
class Finished:
    """What a program left behind."""

    code: int
    out: str
    err: str


async def run(*command: str | Path, home: Path, environment: Mapping[str, str] | None = None) -> Finished:
    """Runs a program that nobody answers, with a home of its own; fails when it does not end in time."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "XDG_"))}
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        cwd=home,
        env=inherited | QUIET | {"HOME": str(home)} | dict(environment or {}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            out, err = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return Finished(process.returncode, out.decode(), err.decode())
