"""API keys of prompts: sealed for the database, opened after a restart, gone with the job."""

from __future__ import annotations

import pytest
import structlog
from support.room import SECRETS, jobs_room

from gateway.jobs.recovery import recover
from gateway.jobs.registry import Registry
from gateway.jobs.secrets import Secrets, SecretsLost
from gateway.jobs.states import JobState
from gateway.storage import jobs as job_rows

KEY = "comfyui-0123456789"
GIVEN = {"api_key_comfy_org": KEY, "auth_token_comfy_org": {"token": KEY}}


async def with_secrets(room, job_id="a"):
    job = room.job(job_id, secrets=GIVEN, sealed=SECRETS.sealed(job_id, GIVEN))
    room.registry.add(job)
    await room.registry.store_submission(job, None)
    return job


async def again(room, secrets=SECRETS):
    await room.db.flushed()
    registry = Registry(room.db, room.clock, room.listener)
    await recover(room.db, registry, secrets)
    await room.db.flushed()
    return registry


def test_only_the_secret_keys_are_taken():
    assert SECRETS.of({**GIVEN, "extra_pnginfo": {}, "api_key": "no"}) == GIVEN
    assert SECRETS.sealed("a", {}) is None


def test_what_is_sealed_opens_for_its_job_and_with_its_key_only():
    sealed = SECRETS.sealed("a", GIVEN)
    assert KEY.encode() not in sealed
    assert SECRETS.opened("a", sealed) == GIVEN
    assert SECRETS.sealed("a", GIVEN) != sealed
    for secrets, job_id, content in (
        (SECRETS, "b", sealed),
        (Secrets(b"1" * 32), "a", sealed),
        (SECRETS, "a", sealed[:-5]),
        (SECRETS, "a", b"nothing"),
    ):
        with pytest.raises(SecretsLost) as lost:
            secrets.opened(job_id, content)
        assert KEY not in str(lost.value)


async def test_the_next_life_has_them(room):
    await with_secrets(room)
    assert (await again(room)).get("a").secrets == GIVEN


async def test_with_another_key_the_job_goes_on_without_them_and_says_so(room):
    job = await with_secrets(room)
    with structlog.testing.capture_logs() as logged:
        found = (await again(room, Secrets(b"1" * 32))).get("a")
    assert found.secrets == {}
    assert "cannot be read" in found.reason
    assert b"cannot be read" in (await job_rows.load_job(room.db, "a")).changes
    (event,) = [entry for entry in logged if entry["event"] == "job.secrets_lost"]
    assert (event["log_level"], event["job"]) == ("error", "a")
    assert (await again(room)).get("a").secrets == GIVEN, "the right key comes back"
    assert job.secrets == GIVEN


@pytest.mark.parametrize("end", ["failed", "dropped", "interrupted"])
async def test_they_go_with_the_end(tmp_path, end):
    async with jobs_room(tmp_path) as room:
        job = await with_secrets(room)
        room.registry.turn(job, JobState.PENDING)
        assert (await stored(room)).secrets is not None
        if end == "failed":
            room.endings.failed(job, "RunnerLost", "gone")
        else:
            getattr(room.endings, end)(job, "cancelled")
        assert (await stored(room)).secrets is None
        assert job.secrets == {}


async def stored(room):
    await room.db.flushed()
    return await job_rows.load_job(room.db, "a")


def test_they_are_in_no_text_of_a_job(room):
    assert KEY not in repr(room.job("a", secrets=GIVEN))
