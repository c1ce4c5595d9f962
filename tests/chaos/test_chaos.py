"""Gateway, runners and clients under random faults, one run for each seed.

pytest tests/chaos --seed 17 -s     replays one, and shows everything that happened
pytest tests/chaos --seeds 2000     runs more than the usual ones
"""

from __future__ import annotations

import asyncio
import gc
import shutil
from pathlib import Path
from typing import Any

import pytest
import structlog
from chaos import schedule
from chaos.invariants import INVARIANTS, Fault
from chaos.world import World

from gateway.jobs import aside, dispatch, endings, fleet
from gateway.jobs.job import Attempt, Job
from gateway.jobs.post import InDoubt
from gateway.jobs.submission import Answer, Submissions
from gateway.runners import link
from gateway.runners.client import RunnerClient
from gateway.storage import writer
from gateway.storage.database import Database
from gateway.storage.writer import Writer

LINES_MOST = 120  # of the timeline that a failure shows


@pytest.fixture(scope="session")
def fresh_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty database: migrating one takes longer than a run."""
    folder = tmp_path_factory.mktemp("fresh")

    async def make() -> None:
        await (await Database.open(f"sqlite:///{folder}/gateway.db", synchronous="normal")).close()

    asyncio.run(make())
    return folder / "gateway.db"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that no key of the configuration tells, in proportion to the health checks of the runs."""
    monkeypatch.setattr(link, "RECONNECT_FIRST_SECONDS", 0.02)
    monkeypatch.setattr(link, "RECONNECT_MOST_SECONDS", 0.1)
    monkeypatch.setattr(link, "HANDSHAKE_SECONDS", 0.5)
    monkeypatch.setattr(endings, "LINK_TELLS_SECONDS", 0.2)
    monkeypatch.setattr(dispatch, "PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(fleet, "AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(aside, "PAUSES", (0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 3.0))
    monkeypatch.setattr(writer, "RETRY_SECONDS", 0.05)
    monkeypatch.setitem(Database.open.__func__.__kwdefaults__, "busy_timeout", 50)


def observe(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log, each POST of a prompt, each commit, and each POST without an answer are events of the world."""
    structlog.configure(processors=[world.log], cache_logger_on_first_use=False)
    request, settle, doubt = RunnerClient.request, Writer._settle, Submissions._in_doubt

    async def observed_request(self: RunnerClient, method: str, path: str, **more: Any) -> Any:
        posts = (method, path) == ("POST", "/prompt")
        if posts:
            world.seen("posting")
        reply = await request(self, method, path, **more)
        if posts:
            world.seen("posted")
        return reply

    def observed_settle(self: Writer, groups: Any, errors: Any) -> None:
        world.seen("commit.done")
        settle(self, groups, errors)
        world.seen("commit.told")

    async def observed_doubt(self: Submissions, job: Job, attempt: Attempt, outcome: InDoubt) -> Answer | None:
        world.in_doubt.add(job.id)
        return await doubt(self, job, attempt, outcome)

    monkeypatch.setattr(RunnerClient, "request", observed_request)
    monkeypatch.setattr(Submissions, "_in_doubt", observed_doubt)
    monkeypatch.setattr(Writer, "_settle", observed_settle)


async def test_chaos(chaos_seed, tmp_path, fresh_database, monkeypatch, request):
    shutil.copy(fresh_database, tmp_path / "gateway.db")
    steps = schedule.draw(chaos_seed)
    world = World(chaos_seed, tmp_path)
    gc.freeze()  # burials collect what lives have left behind; what was there before need not be walked through
    observe(world, monkeypatch)
    try:
        after = await world.run(steps)
    finally:
        structlog.reset_defaults()
    faults = [(invariant.__name__, *fault) for invariant in INVARIANTS for fault in invariant(after)]
    is_replay = request.config.getoption("seed", None) is not None
    if is_replay and not faults:
        print(report(chaos_seed, steps, world, faults, whole=True))  # noqa: T201 - shown by -s
    if faults:
        pytest.fail(report(chaos_seed, steps, world, faults, whole=is_replay), pytrace=False)


def report(
    seed: int, steps: list[schedule.Step], world: World, faults: list[tuple[str, *Fault]], *, whole: bool
) -> str:
    """Schedule, faults, and the part of the timeline that is about the jobs concerned, or all of it."""
    jobs = {job for _, job, _ in faults if job is not None}
    lines = [
        f"{seconds:7.3f}  {who:9} {what}"
        for seconds, who, what in world.timeline
        if whole or not jobs or who == "schedule" or any(job in what for job in jobs) or "runner.state" in what
    ]
    if not whole and len(lines) > LINES_MOST:
        lines = [f"… {len(lines) - LINES_MOST} lines more with --seed", *lines[-LINES_MOST:]]
    return "\n".join(
        [
            f"seed {seed}; replay it with: pytest tests/chaos --seed {seed}    or: make chaos SEED={seed}",
            "schedule:",
            *(f"    {step}" for step in steps),
            "what happened:",
            *lines,
            "what is wrong:",
            *(f"    {name}: {job or ''} {text}" for name, job, text in faults),
        ]
    )
