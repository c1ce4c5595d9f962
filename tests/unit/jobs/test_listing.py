import asyncio
import json
import zlib

import pytest

from gateway.comfyui import history
from gateway.jobs import listing
from gateway.jobs.content import Content
from gateway.jobs.job import Job, Options
from gateway.jobs.listing import QueueListing
from gateway.scheduling.needs import Needs


def job(number, *, client_id="tab", extra_data=None):
    return Job(
        id=f"job-{number}",
        seq=number,
        number=number,
        owner="",
        client_id=client_id,
        content=Content({"1": {"class_type": "Nøde", "inputs": {"n": number}}}, extra_data or {}),
        secrets={},
        options=Options(),
        needs=Needs(frozenset(), frozenset(), frozenset()),
        created_at=1,
        outputs_to_execute=["1"],
    )


def item(job):
    extra_data = job.extra_data if job.client_id is None else {**job.extra_data, "client_id": job.client_id}
    return list(history.queue_item(job.number, job.id, job.prompt, extra_data, job.outputs_to_execute))


def whole(listed):
    return json.loads(b"".join(listed.pieces()))


JOBS = [job(0), job(1, client_id=None), job(2, extra_data={"a": "é"}), job(3, client_id=None, extra_data={"b": [1]})]


@pytest.mark.parametrize("running", [0, 1, 2])
async def test_both_forms_list_the_same(running):
    listed = QueueListing(JOBS[:running], JOBS[running:])
    wanted = {"queue_running": list(map(item, JOBS[:running])), "queue_pending": list(map(item, JOBS[running:]))}
    assert whole(listed) == wanted
    assert json.loads(zlib.decompress(b"".join(await listed.deflated()))) == wanted


async def test_an_empty_queue():
    listed = QueueListing([], [])
    assert len(listed) == 0
    assert whole(listed) == {"queue_running": [], "queue_pending": []}
    assert json.loads(zlib.decompress(b"".join(await listed.deflated()))) == whole(listed)


async def test_a_job_is_compressed_once(monkeypatch):
    jobs = [job(number) for number in range(listing.AT_ONCE * 2)]
    first = b"".join(await QueueListing([], jobs).deflated())
    parts = [each.listed for each in jobs]
    again = await asyncio.wait_for(QueueListing(jobs[:1], jobs[1:]).deflated(), 10)
    assert [each.listed for each in jobs] == parts
    assert all(each is part for each, part in zip((each.listed for each in jobs), parts, strict=True))
    assert json.loads(zlib.decompress(first))["queue_pending"] == list(map(item, jobs))
    assert json.loads(zlib.decompress(b"".join(again)))["queue_pending"] == list(map(item, jobs[1:]))
