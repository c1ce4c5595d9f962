"""Files of completed workflows are kept, and whatever goes wrong with one of them ends nothing."""

import asyncio
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from gateway.comfyui.outputs import OutputFile
from gateway.jobs.states import JobState
from gateway.runners.errors import RunnerUnreachable
from gateway.workflows.keeping import Keeper

FILES = {"mine": [OutputFile("a.png", "", "output"), OutputFile("b.png", "", "output")]}


class World:
    """An archive and names that note what is asked of them."""

    def __init__(self) -> None:
        self.kept = []
        self.error = None
        self.asked = asyncio.Event()
        self.keeper = Keeper(self, self, self.files_of)

    async def files_of(self, job_id):
        self.asked.set()
        return "ann", FILES.get(job_id, [])

    def find(self, type_, subfolder, filename, owner):
        return None if filename == "gone.png" else (owner, filename)

    async def ensure(self, row):
        if self.error is not None:
            raise self.error
        self.kept.append(row)

    async def turned(self, job_id, state):
        self.keeper.job_turned(SimpleNamespace(id=job_id, state=state), JobState.RUNNING)
        await asyncio.gather(*self.keeper._tasks)


@pytest.fixture
async def world():
    return World()


async def test_the_files_of_a_completed_workflow_are_kept_for_its_owner(world):
    await world.turned("mine", JobState.COMPLETED)
    assert world.kept == [("ann", "a.png"), ("ann", "b.png")]


@pytest.mark.parametrize("state", [state for state in JobState if state is not JobState.COMPLETED])
async def test_of_any_other_there_are_none(world, state):
    await world.turned("mine", state)
    assert not world.asked.is_set()


async def test_what_is_no_workflow_has_none(world):
    await world.turned("a native job", JobState.COMPLETED)
    assert world.kept == []


async def test_what_cannot_be_kept_is_logged(world):
    world.error = RunnerUnreachable("gpu-0", "it is gone")
    with capture_logs() as logs:
        await world.turned("mine", JobState.COMPLETED)
    assert [each["event"] for each in logs] == ["workflow.outputs_not_kept"]
