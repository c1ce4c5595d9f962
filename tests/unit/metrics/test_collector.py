"""Jobs of owners in the metrics: by name, and bounded."""

from types import SimpleNamespace

from support.room import jobs_room

from gateway.metrics import collector
from gateway.metrics.collector import OTHER_OWNERS, RoomsCollector


async def test_only_the_owners_with_the_most_jobs_are_told_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(collector, "OWNERS_MOST", 2)
    async with jobs_room(tmp_path) as room:
        for job_id, owner in (("a", "ann"), ("b", "ann"), ("c", "bob"), ("d", "bob"), ("e", "cy"), ("f", "dee")):
            await room.pending(job_id, owner=owner)
        rooms = SimpleNamespace(jobs=SimpleNamespace(registry=room.registry))
        family = RoomsCollector(rooms, room.clock)._jobs_of_owners()
        told = {sample.labels["owner"]: sample.value for sample in family.samples}
        assert told == {"ann": 2, "bob": 2, OTHER_OWNERS: 2}
