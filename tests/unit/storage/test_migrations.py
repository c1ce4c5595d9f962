"""Which schema is the newest."""

import asyncio
import subprocess
import sys

from gateway.storage import migrations
from gateway.storage.database import Database
from gateway.storage.migrations import steps

REOPENED = """
import asyncio, sys
from gateway.storage.database import Database


async def reopened():
    await (await Database.open(sys.argv[1])).close()


asyncio.run(reopened())
assert "alembic" not in sys.modules, "a database that needs no step waits for Alembic's import"
"""


def test_the_newest_schema_is_that_of_the_last_step():
    assert steps.newest() == migrations.NEWEST


async def made(url: str) -> None:
    await (await Database.open(url)).close()


def test_a_start_that_needs_no_step_imports_no_alembic(tmp_path):
    url = f"sqlite:///{tmp_path}/gateway.db"
    asyncio.run(made(url))
    ended = subprocess.run(
        [sys.executable, "-c", REOPENED, url], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
