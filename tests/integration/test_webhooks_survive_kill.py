"""Webhooks through a kill -9 of the gateway, to a receiver that fails: the bench with few runs."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

BENCH = Path(__file__).parents[2] / "bench" / "webhooks.py"


async def test_every_event_is_told_in_order_through_a_kill():
    program = (sys.executable, str(BENCH), "--runs", "60", "--seconds", "80")
    process = await asyncio.create_subprocess_exec(*program, stdout=PIPE, stderr=PIPE)
    stdout, stderr = await process.communicate()
    assert process.returncode == 0, (stdout, stderr)
    assert b"60 jobs told in full and in order" in stdout
