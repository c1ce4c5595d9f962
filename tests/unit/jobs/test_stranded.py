"""Accepted jobs that no runner of the pool could ever take end; those that one could, wait."""

import pytest
from support.room import PlayedRunner, jobs_room

from gateway.comfyui.catalogue import Catalogue
from gateway.jobs.states import JobState
from gateway.scheduling.needs import Needs

NEEDS = Needs(frozenset(), frozenset({"SaveImage"}), frozenset())
NOTHING = Catalogue({})


@pytest.fixture
async def two(tmp_path):
    async with jobs_room(tmp_path, PlayedRunner("gpu-0"), PlayedRunner("gpu-1")) as opened:
        opened.dispatcher.open()
        yield opened


def lacks(runner):
    """The runner has come back without any node class."""
    runner.facts.catalogue = NOTHING
    runner.catalogue_version += 1


def down(runner):
    runner.is_ready = False


async def test_a_job_that_was_accepted_although_none_fits_ends_when_it_loses_its_runner(two):
    attempt = await two.held("a", needs=NEEDS)
    for runner in two.pool:
        lacks(runner)
    two.dispatcher.schedule()
    assert attempt.job.state is JobState.DISPATCHED, "where it is, it may stay"
    two.endings.lost(attempt, "gone")
    two.dispatcher.schedule()
    await two.endings.settled()
    assert attempt.job.state is JobState.FAILED
    error = two.listener.messages[0].data
    assert error["exception_type"] == "NoRunner"
    for name in ("gpu-0", "gpu-1"):
        assert f"{name}: lacks the node classes SaveImage" in error["exception_message"]
    assert two.listener.types() == ["execution_error", "done"]


async def test_a_waiting_job_ends_when_the_last_catalogue_changes(two):
    for runner in two.pool:
        down(runner)
    job = await two.pending(needs=NEEDS)
    lacks(two.pool["gpu-0"])
    two.dispatcher.schedule()
    assert job.state is JobState.PENDING, "gpu-1 may come back"
    lacks(two.pool["gpu-1"])
    two.dispatcher.schedule()
    assert job.state is JobState.FAILED


async def test_a_waiting_job_ends_when_the_last_runner_that_fits_leaves(two):
    for runner in two.pool:
        down(runner)
    job = await two.pending(needs=NEEDS)
    lacks(two.pool["gpu-0"])
    del two.pool["gpu-1"]
    two.dispatcher.schedule()
    assert job.state is JobState.FAILED


async def test_a_job_waits_for_a_disabled_runner_and_in_an_empty_pool(two):
    lacks(two.pool["gpu-0"])
    two.pool["gpu-1"].config.status = "disabled"
    job = await two.pending(needs=NEEDS)
    two.dispatcher.schedule()
    assert job.state is JobState.PENDING
    two.pool.clear()
    two.dispatcher.schedule()
    assert job.state is JobState.PENDING


async def test_those_who_refused_it_are_named_with_their_words(two):
    lacks(two.pool["gpu-0"])
    attempt = await two.held("a", "gpu-1", needs=NEEDS)
    attempt.job.refused_by["gpu-1"] = "No such model"
    two.endings.lost(attempt, "gone")
    two.dispatcher.schedule()
    await two.endings.settled()
    assert "gpu-1: No such model" in two.listener.messages[0].data["exception_message"]


async def test_what_no_client_was_promised_leaves_no_trace(two):
    attempt = await two.held("a", needs=NEEDS)
    attempt.job.was_accepted = False
    for runner in two.pool:
        lacks(runner)
    two.endings.lost(attempt, "gone")
    two.dispatcher.schedule()
    assert attempt.job.state is JobState.CANCELLED
    assert two.listener.types() == []


async def test_needs_that_were_drawn_by_an_older_catalogue_end_no_job(two):
    for runner in two.pool:
        down(runner)
        runner.facts.catalogue = Catalogue({"SaveImage": None})
        runner.catalogue_version += 1
    job = await two.pending(needs=Needs(frozenset(), frozenset({"Gone"}), frozenset()))
    two.dispatcher.schedule()
    assert job.state is JobState.PENDING
    assert job.needs == NEEDS


async def test_a_job_that_needs_something_else_now_is_looked_at_again(two):
    for runner in two.pool:
        lacks(runner)
    job = await two.pending(needs=Needs(frozenset(), frozenset(), frozenset()))
    for runner in two.pool:
        down(runner)
    two.dispatcher.schedule()
    assert job.state is JobState.PENDING
    job.needs = NEEDS
    two.registry.needs_changed([job])
    two.dispatcher.schedule()
    assert job.state is JobState.FAILED
