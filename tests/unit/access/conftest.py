"""A database, and a clock that the test turns."""

import pytest

from gateway.clock import Clock
from gateway.storage.database import Database

NOW = 1_800_000_000_000
DAY_MS = 86_400_000


class TurnedClock(Clock):
    """Stands until it is turned."""

    def __init__(self) -> None:
        self.now = NOW

    def wall_ms(self) -> int:
        return self.now

    def monotonic(self) -> float:
        return self.now / 1_000


@pytest.fixture
def clock():
    return TurnedClock()


@pytest.fixture
async def db(tmp_path):
    async with await Database.open(f"sqlite:///{tmp_path}/gateway.db", synchronous="normal") as opened:
        yield opened
