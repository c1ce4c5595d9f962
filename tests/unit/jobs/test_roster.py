"""Who says what of a runner (the table of `gateway.jobs.roster`), over a database and a fleet that takes notes."""

import asyncio
import uuid

import pytest
from pydantic import SecretStr

from gateway.config import RunnerConfig
from gateway.jobs.fleet import UnknownRunner
from gateway.jobs.roster import NotChangeable, Roster
from gateway.runners.runner import AddedRunner
from gateway.storage.database import Database
from gateway.storage.errors import StorageError
from gateway.storage.sealing import Seal

ENDPOINT = "http://10.0.0.1:8188"


class TurnedClock:
    now = 1_000

    def wall_ms(self):
        self.now += 1
        return self.now


class NotedFleet:
    """Notes what it is told. ``leaving_names`` are runners on their way out."""

    def __init__(self):
        self.added, self.changed, self.removed = [], [], []
        self.leaving_names = set()

    def leaving(self, name):
        return name if name in self.leaving_names else None

    def add(self, config):
        self.added.append(config)

    async def settle(self, name, wanted):
        self.changed.append(wanted())

    def remove(self, name, seconds):
        if name in self.leaving_names:
            raise UnknownRunner(name)
        self.removed.append((name, seconds))

    async def follow(self, wanted):
        return wanted()


@pytest.fixture
async def db(tmp_path):
    async with await Database.open(f"sqlite:///{tmp_path}/roster.db", synchronous="normal") as db:
        yield db


@pytest.fixture
def roster_of(db):
    async def opened(*configured, key=bytes(range(32))):
        roster = Roster(db, TurnedClock(), Seal(key, "headers"), "the-gateway")
        roster.fleet = NotedFleet()
        await roster.load(configured)
        return roster

    return opened


def configured(name="gpu-0", **more):
    return RunnerConfig(name=name, endpoint=ENDPOINT, **more)


def make(roster, name="made", **more):
    return roster.make(uuid.uuid4(), "ada", name, endpoint=ENDPOINT, **more)


async def test_both_kinds_are_one_list_newest_first(roster_of):
    roster = await roster_of(configured("gpu-0"), configured("gpu-1"))
    entry = await make(roster)
    assert [each.name for each in roster.entries()] == ["made", "gpu-0", "gpu-1"]
    assert [config.name for config in roster.wanted()] == ["gpu-0", "gpu-1", "made"]
    assert roster.fleet.added == [entry.config]
    assert isinstance(entry.config, AddedRunner)
    assert not isinstance(roster.wanted()[0], AddedRunner)
    assert (roster.id_of("made"), roster.id_of("nobody")) == (entry.id, None)
    assert (roster.made_by("ada"), roster.made_by("bob")) == (1, 0)


async def test_the_next_life_has_the_same_list(roster_of):
    roster = await roster_of(configured())
    await make(roster, tags=("x",), headers={"X-Key": SecretStr("value")})
    again = await roster_of(configured())
    assert again.entries() == roster.entries()
    assert again.wanted()[1].plain_headers() == {"X-Key": "value"}


async def test_made_under_an_id_that_is_there_it_is_given_back(roster_of):
    roster = await roster_of()
    first = await make(roster)
    again = await roster.make(first.id, "ada", "other", endpoint=ENDPOINT)
    assert again is first
    assert len(roster.fleet.added) == 1


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("gpu-1", "gpu-1"),
        ("gpu-0", "gpu-0-"),
        ("a b/c", "a-b-c-"),
        ("..", "runner-"),
        ("ü", "runner-"),
        ("left", "left-"),
    ],
)
async def test_keys(roster_of, name, start):
    roster = await roster_of(configured("gpu-0"))
    roster.fleet.leaving_names.add("left")
    entry = await make(roster, name)
    assert entry.name == name
    assert entry.key == (start if not start.endswith("-") else start + entry.id.hex[:8])


async def test_a_status_of_the_api_holds_until_the_file_says_another(roster_of):
    roster = await roster_of(configured())
    await roster.change(roster.id_of("gpu-0"), status="disabled")
    assert [config.status for config in roster.fleet.changed] == ["disabled"]
    for _ in range(2):
        assert [config.status for config in await roster.apply([configured(tags=("x",))])] == ["disabled"]
    assert (await roster_of(configured())).wanted()[0].status == "disabled"
    roster = await roster_of(configured(status="drain"))
    assert roster.wanted()[0].status == "drain"
    assert (await roster.apply([configured()]))[0].status == "active"


async def test_a_status_that_is_the_files_own_is_no_other(roster_of):
    roster = await roster_of(configured())
    runner_id = roster.id_of("gpu-0")
    await roster.change(runner_id, status="disabled")
    await roster.change(runner_id, status="active")
    assert (await roster.apply([configured(status="disabled")]))[0].status == "disabled"


async def test_a_runner_that_left_the_file_is_forgotten_with_its_status(roster_of):
    roster = await roster_of(configured())
    was = roster.entries()[0]
    await roster.change(was.id, status="disabled")
    assert await roster.apply([]) == []
    assert (await roster.apply([configured()]))[0].status == "active"
    assert roster.entries()[0].id == was.id
    assert roster.entries()[0].created_at > was.created_at


@pytest.mark.parametrize("change", [{"tags": ("x",)}, {"name": "other"}, {"endpoint": "http://10.0.0.2"}])
async def test_all_else_of_the_files_runners_is_the_files(roster_of, change):
    roster = await roster_of(configured())
    runner_id = roster.id_of("gpu-0")
    with pytest.raises(NotChangeable):
        await roster.change(runner_id, status="disabled", **change)
    with pytest.raises(NotChangeable):
        await roster.remove(runner_id)
    assert (roster.wanted()[0].status, roster.fleet.changed, roster.fleet.removed) == ("active", [], [])


async def test_a_change_that_changes_nothing_is_none(roster_of):
    roster = await roster_of()
    entry = await make(roster, tags=("x",))
    assert await roster.change(entry.id, name="made", tags=("x",), endpoint=ENDPOINT) is entry
    assert roster.fleet.changed == []


async def test_changed_and_removed(roster_of):
    roster = await roster_of()
    entry = await make(roster)
    changed = await roster.change(entry.id, name="other", tags=("x",))
    assert (changed.name, changed.key, changed.config.tags) == ("other", "made", ("x",))
    assert changed.updated_at > changed.created_at
    await roster.remove(entry.id, 5)
    assert (roster.entries(), roster.fleet.removed) == ([], [("made", 5)])
    assert (await roster_of()).entries() == []
    for move in (roster.change(entry.id, name="x"), roster.remove(entry.id)):
        with pytest.raises(KeyError):
            await move


async def test_the_file_takes_over_by_the_key(roster_of):
    roster = await roster_of()
    entry = await make(roster)
    await roster.apply([configured("made")])
    assert roster.get(entry.id) is None
    assert [each.is_configured for each in roster.entries()] == [True]
    assert (await roster_of()).entries() == []


async def test_changes_at_once_are_one_after_the_other(roster_of):
    roster = await roster_of()
    entry = await make(roster)
    await asyncio.gather(roster.change(entry.id, tags=("x",)), roster.change(entry.id, status="disabled"))
    config = roster.get(entry.id).config
    assert (config.tags, config.status) == (("x",), "disabled")
    assert (await roster_of()).get(entry.id).config == config


async def test_what_is_not_stored_has_no_effect(roster_of, db, monkeypatch):
    roster = await roster_of(configured())
    entry = await make(roster)

    def fails(*_operations):
        raise StorageError("the disk is full")

    monkeypatch.setattr(db, "write", fails)
    was = roster.wanted()
    for move in (
        make(roster, "second"),
        roster.change(entry.id, tags=("x",)),
        roster.change(roster.id_of("gpu-0"), status="disabled"),
        roster.remove(entry.id),
    ):
        with pytest.raises(StorageError):
            await move
    assert roster.wanted() == was
    assert (roster.fleet.added, roster.fleet.changed, roster.fleet.removed) == ([entry.config], [], [])


async def test_with_another_key_headers_are_gone_and_the_runner_stays(roster_of):
    roster = await roster_of()
    entry = await make(roster, headers={"X-Key": SecretStr("value")})
    again = await roster_of(key=bytes(32))
    assert again.get(entry.id).config.plain_headers() == {}
