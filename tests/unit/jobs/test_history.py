"""The listing of ended jobs."""

import asyncio

import orjson
from support.room import jobs_room

from gateway.jobs import history
from gateway.jobs.history import Ended, History
from gateway.storage import jobs as job_rows


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


async def ended(room, *names):
    for name in names:
        room.endings.failed(await room.pending(name), "RunnerLost", "gone")


def told(entries):
    return [job_id for job_id, _ in entries]


async def test_the_newest_entries_are_told_as_they_are_stored(room):
    await ended(room, *"abcd")
    for owner in (None, ""):
        for most in (None, -1, 0, 2, 4, 9):
            stored = await job_rows.load_entries(room.db, owner=owner, newest=10 if most is None else max(most, 0))
            assert await room.history.entries(owner, most, -1) == stored
    assert await room.history.entries("another", None, -1) == []
    assert told(await room.history.entries(None, 2, 1)) == ["b", "c"]


async def test_what_ended_a_moment_ago_is_told_without_the_disk(room, monkeypatch):
    async def fails(*_args, **_names):
        raise AssertionError("the disk was asked")

    await ended(room, *"ab")
    monkeypatch.setattr(job_rows, "load_entries", fails)
    assert told(await room.history.entries(None, 200, -1)) == ["a", "b"]


async def test_of_two_that_ask_the_first_is_answered_first(room, monkeypatch):
    """The first has to read from the disk, which takes its time; the job that ends meanwhile is in memory."""
    await ended(room, "a")
    await room.db.flushed()
    next_life = History(room.db)
    await next_life.load()
    reading, go_on = asyncio.Event(), asyncio.Event()
    load = job_rows.load_entries

    async def slow(*args, **names):
        reading.set()
        await go_on.wait()
        return await load(*args, **names)

    monkeypatch.setattr(job_rows, "load_entries", slow)
    first = asyncio.create_task(next_life.entries(None, 200, -1))
    await reading.wait()
    next_life.add(Ended("b", "", None, {"id": "b"}), b"{}")
    second = asyncio.create_task(next_life.entries(None, 200, -1))
    await asyncio.sleep(0)
    assert not second.done()
    monkeypatch.setattr(job_rows, "load_entries", None)  # what was read once is not read again
    go_on.set()
    answers = [told(found) for found in await asyncio.gather(first, second)]
    assert answers == [["a"], ["a", "b"]]


async def test_what_is_deleted_while_it_is_read_is_not_kept(room, monkeypatch):
    await ended(room, *"ab")
    await room.db.flushed()
    next_life = History(room.db)
    await next_life.load()
    load = job_rows.load_entries

    async def then_deleted(*args, **names):
        found = await load(*args, **names)
        await next_life.delete(["a"], None)
        return found

    monkeypatch.setattr(job_rows, "load_entries", then_deleted)
    await next_life.entries(None, 200, -1)
    monkeypatch.setattr(job_rows, "load_entries", load)
    assert told(await next_life.entries(None, 200, -1)) == ["b"]
    assert await next_life.entry("a", None) is None
