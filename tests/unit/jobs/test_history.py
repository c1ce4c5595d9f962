"""The listing of ended jobs."""

import orjson
from support.room import jobs_room

from gateway.jobs import history
from gateway.jobs.history import Ended, History


async def test_numbers_rise_in_the_order_of_ends(room):
    first, second, third = [await room.pending(name) for name in "abc"]
    for job in (second, first, third):
        room.endings.failed(job, "RunnerLost", "gone")
    entries = [orjson.loads(await room.history.entry(name, None)) for name in "bac"]
    numbers = [entry["prompt"][0] for entry in entries]
    assert numbers[0] == second.number
    assert numbers == sorted(set(numbers))


def test_in_order_each_keeps_its_own():
    past = History(None)
    assert [past.number_for(number) for number in (0, 1, 5, 6)] == [0, 1, 5, 6]


def test_numbers_that_a_client_chose_stay():
    past = History(None)
    assert [past.number_for(number) for number in (7, -3, 2.0, 99.5, 8)] == [7, -3, 2.0, 99.5, 8]


async def test_the_next_life_counts_on(tmp_path):
    async with jobs_room(tmp_path) as room:
        job = await room.pending("a")
        job.number = 40
        room.endings.failed(job, "RunnerLost", "gone")
        await room.db.flushed()
        next_life = History(room.db)
        await next_life.load()
        assert next_life.number_for(3) == 41


async def test_a_clock_that_is_set_back_changes_no_order(tmp_path):
    """Ends are listed in the order in which they came, also after a restart."""
    hour = 3_600  # seconds
    async with jobs_room(tmp_path) as room:
        started = room.clock.wall_ms()
        for name, jump in (("a", 0), ("b", -hour), ("c", 2 * hour), ("d", -5 * hour), ("e", 0)):
            room.clock.seconds += jump
            room.endings.failed(await room.pending(name), "RunnerLost", "gone")
        await room.db.flushed()
        entries = await room.history.entries(None, 3, -1)
        assert [job_id for job_id, _ in entries] == ["c", "d", "e"]
        next_life = History(room.db)
        await next_life.load()
        assert [row["id"] for row in next_life.rows(None)] == ["a", "b", "c", "d", "e"]
        assert next_life.end_time(started - hour * 1000) == next_life.end_time(0)


async def test_no_owners_jobs_push_anothers_out_of_the_listing(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "LISTED_MOST", 3)
    async with jobs_room(tmp_path) as room:
        for name, owner in (("a", "anna"), *((str(number), "bert") for number in range(5)), ("b", "anna")):
            room.endings.failed(await room.pending(name, owner=owner), "RunnerLost", "gone")
        await room.db.flushed()
        next_life = History(room.db)
        await next_life.load()
        for past in (room.history, next_life):
            assert [row["id"] for row in past.rows("anna")] == ["a", "b"]
            assert [row["id"] for row in past.rows("bert")] == ["2", "3", "4"]
            assert [row["id"] for row in past.rows(None)] == ["a", "2", "3", "4", "b"]
            assert list(past.rows("cleo")) == []
        await room.history.clear("bert")
        assert [row["id"] for row in room.history.rows(None)] == ["a", "b"]
        assert list(room.history.rows("bert")) == []


def test_with_very_many_owners_the_longest_listing_loses_its_oldest(monkeypatch):
    monkeypatch.setattr(history, "LISTED_IN_ALL", 4)
    past = History(None)
    for job_id, owner in (("a", "anna"), ("1", "bert"), ("2", "bert"), ("3", "bert"), ("c", "cleo"), ("d", "dora")):
        past.add(Ended(job_id, owner, None, {"id": job_id}), b"{}")
    assert [row["id"] for row in past.rows(None)] == ["a", "3", "c", "d"]
