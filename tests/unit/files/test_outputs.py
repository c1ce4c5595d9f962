import asyncio
from collections import defaultdict
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.comfyui import names
from gateway.comfyui.outputs import OutputFile
from gateway.files.outputs import OutputNames
from gateway.storage.database import Database, DatabaseUnavailable
from gateway.storage.files import load_outputs


@pytest.fixture
async def db(tmp_path):
    async with await Database.open(f"sqlite:///{tmp_path}/gateway.db", synchronous="normal") as database:
        yield database


@pytest.fixture
def outputs(db) -> OutputNames:
    return OutputNames(db)


def image(name: str, subfolder: str = "", type_: str = "output") -> OutputFile:
    return OutputFile(name, subfolder, type_)


async def assign(outputs: OutputNames, job: str, runner: str, name: str, *, fresh: bool = True, owner: str = "") -> str:
    return (await outputs.assign_all(job, runner, [image(name)], fresh=fresh, owner=owner))[0].filename


async def reloaded(db) -> OutputNames:
    outputs = OutputNames(db)
    await outputs.load()
    return outputs


async def test_a_free_name_is_kept_and_a_taken_one_counts_on(outputs):
    assert await assign(outputs, "1", "east", "a_00001_.png") == "a_00001_.png"
    assert await assign(outputs, "2", "west", "a_00001_.png") == "a_00002_.png"
    assert await assign(outputs, "3", "east", "a_00002_.png") == "a_00003_.png"
    assert await assign(outputs, "4", "north", "a_00009_.png") == "a_00009_.png"
    assert await assign(outputs, "5", "south", "a_00001_.png") == "a_00010_.png"
    assert await assign(outputs, "5", "south", "b_00001_.png") == "b_00001_.png"


async def test_numbers_count_over_extensions_and_apart_in_folders(outputs):
    await assign(outputs, "1", "east", "a_00001_.png")
    await assign(outputs, "1", "east", "a_00002_.webp")
    assert await assign(outputs, "2", "west", "a_00001_.png") == "a_00003_.png"
    for other in (image("a_00001_.png", "sub"), image("a_00001_.png", "", "temp")):
        assert await outputs.assign_all("2", "west", [other], fresh=True) == [other]


async def test_find_leads_back_to_the_runner(outputs):
    await assign(outputs, "1", "east", "a_00001_.png")
    await assign(outputs, "2", "west", "a_00001_.png")
    row = outputs.find("output", "", "a_00002_.png")
    assert (row.runner, row.runner_filename, row.job_id) == ("west", "a_00001_.png", "2")
    assert outputs.find("output", "./", "a_00002_.png") == row
    assert outputs.find("output", "", "a_00003_.png") is None
    assert outputs.find("temp", "", "a_00002_.png") is None


async def test_a_job_gets_the_same_names_again(outputs, db):
    for known in (outputs, await reloaded(db)):
        assert await assign(known, "1", "east", "a_00001_.png") == "a_00001_.png"
    await assign(outputs, "2", "west", "a_00001_.png")
    await assign(outputs, "3", "west", "a_00001_.png")
    for known in (outputs, await reloaded(db)):
        for fresh in (True, False):
            assert await assign(known, "2", "west", "a_00001_.png", fresh=fresh) == "a_00002_.png"


async def test_a_cached_node_keeps_the_files_of_the_job_that_made_them(outputs, db):
    await assign(outputs, "1", "east", "a_00001_.png")
    await assign(outputs, "2", "west", "a_00001_.png")
    for known in (outputs, await reloaded(db)):
        assert await assign(known, "3", "west", "a_00001_.png", fresh=False) == "a_00002_.png"
    assert await assign(outputs, "4", "west", "b_00001_.png", fresh=False) == "b_00001_.png"


async def test_a_name_counted_again_is_a_new_file_and_the_old_one_is_lost(outputs, db):
    await assign(outputs, "1", "east", "a_00001_.png")
    assert await assign(outputs, "2", "east", "a_00001_.png") == "a_00002_.png"
    for known in (outputs, await reloaded(db)):
        assert known.find("output", "", "a_00001_.png") is None
        assert known.is_taken("output", "", "a_00001_.png")
        assert known.find("output", "", "a_00002_.png").generation == 2
        assert known.of_runner("east", image("a_00001_.png")).filename == "a_00002_.png"
        assert await assign(known, "3", "east", "a_00001_.png", fresh=False) == "a_00002_.png"


async def test_a_lost_file_is_had_from_its_archived_copy(outputs, db):
    await assign(outputs, "1", "east", "a_00001_.png")
    await outputs.archived(outputs.find("output", "", "a_00001_.png"), "ab" * 32, 7)
    await assign(outputs, "2", "east", "a_00001_.png")
    for known in (outputs, await reloaded(db)):
        row = known.find("output", "", "a_00001_.png")
        assert (row.lost, row.content_hash, row.size) == (True, "ab" * 32, 7)


async def test_a_copy_that_comes_too_late_is_not_taken_for_the_new_content(outputs):
    await assign(outputs, "1", "east", "plain.png")
    before = outputs.find("output", "", "plain.png")
    await assign(outputs, "2", "east", "plain.png")
    await outputs.archived(before, "ab" * 32, 7)
    assert outputs.find("output", "", "plain.png").content_hash is None


async def test_a_name_without_a_number_is_written_over_on_its_own_runner_only(outputs, db):
    assert await assign(outputs, "1", "east", "plain.png") == "plain.png"
    assert await assign(outputs, "2", "west", "plain.png") == "plain_00002_.png"
    assert await assign(outputs, "3", "north", "plain.png") == "plain_00003_.png"
    assert await assign(outputs, "4", "east", "plain.png") == "plain.png"
    assert await assign(outputs, "5", "west", "plain.png") == "plain_00002_.png"
    for known in (outputs, await reloaded(db)):
        assert known.find("output", "", "plain.png").job_id == "4"
        assert known.find("output", "", "plain_00002_.png").job_id == "5"


async def test_names_without_an_extension_count_too(outputs):
    got = [await assign(outputs, str(n), f"runner-{n}", "file") for n in range(3)]
    assert got == ["file", "file_00002_", "file_00003_"]


async def test_reserved_names_are_not_given(db):
    outputs = OutputNames(db, reserved=lambda *name: name[2] in ("a_00001_.png", "a_00002_.png", "plain.png"))
    assert await assign(outputs, "1", "east", "a_00001_.png") == "a_00003_.png"
    assert await assign(outputs, "1", "east", "plain.png") == "plain_00002_.png"


async def test_callers_at_the_same_time_get_different_names(outputs, db):
    public = await asyncio.gather(*(assign(outputs, str(n), f"runner-{n}", "a_00001_.png") for n in range(100)))
    assert sorted(public) == [f"a_{n:05}_.png" for n in range(1, 101)]
    assert sorted(row.filename for row in await load_outputs(db)) == sorted(public)


async def test_assign_all_answers_in_order_with_one_commit(outputs, db, monkeypatch):
    await assign(outputs, "1", "east", "a_00002_.png")
    commits, write = [], db.write
    monkeypatch.setattr(db, "write", lambda *operations: commits.append(operations) or write(*operations))
    wanted = [image("a_00001_.png"), image("a_00002_.png"), image("a_00001_.png"), image("x.mp4")]
    public = await outputs.assign_all("2", "west", wanted, fresh=True)
    assert [file.filename for file in public] == ["a_00001_.png", "a_00003_.png", "a_00001_.png", "x.mp4"]
    assert [len(operations) for operations in commits] == [3]


async def test_who_asks_for_a_name_on_its_way_to_the_disk_waits_for_it(outputs, db, monkeypatch):
    disk = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(db, "write", lambda *_: disk)
    first = asyncio.create_task(assign(outputs, "1", "east", "a_00001_.png"))
    await asyncio.sleep(0)
    second = asyncio.create_task(assign(outputs, "2", "east", "a_00001_.png", fresh=False))
    await asyncio.sleep(0)
    first.cancel()  # takes nothing from the second
    await asyncio.wait([first])
    assert not second.done()
    disk.set_result(None)
    assert await second == "a_00001_.png"


async def test_a_name_that_could_not_be_kept_is_kept_later(outputs, db, monkeypatch):
    await assign(outputs, "1", "east", "a_00001_.png")
    with monkeypatch.context() as patch:
        failed = asyncio.get_running_loop().create_future()
        failed.set_exception(DatabaseUnavailable("full"))
        patch.setattr(db, "write", lambda *_: failed)
        with pytest.raises(DatabaseUnavailable):
            await assign(outputs, "2", "east", "a_00001_.png")
    assert [row.lost for row in await load_outputs(db)] == [False]
    assert await assign(outputs, "2", "east", "a_00001_.png") == "a_00002_.png"
    assert [(row.filename, row.lost) for row in await load_outputs(db)] == [
        ("a_00001_.png", True),
        ("a_00002_.png", False),
    ]


def test_the_next_number_takes_no_look_at_all_names():
    writes: asyncio.Future[None] | SimpleNamespace = SimpleNamespace(add_done_callback=lambda _: None)
    outputs = OutputNames(SimpleNamespace(write=lambda *_: writes))
    asked = 0

    def reserved(*_) -> bool:
        nonlocal asked
        asked += 1
        return False

    outputs._reserved = reserved
    for n in range(5_000):
        outputs._public_name(str(n), f"runner-{n}", image("a_00001_.png"), True)
    assert asked == 5_000


JOB_FILES = st.lists(
    st.tuples(
        st.sampled_from(["east", "west", "north"]),
        st.lists(
            st.sampled_from(["a_00001_.png", "a_00002_.png", "a_00003_.webp", "plain.png", "plain_00002_.png", "file"]),
            min_size=1,
            max_size=4,
            unique=True,
        ),
        st.booleans(),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(jobs=JOB_FILES, reload_after=st.integers(0, 12))
async def test_one_name_is_one_file(tmp_path_factory, jobs, reload_after):
    path = tmp_path_factory.mktemp("names") / "gateway.db"
    async with await Database.open(f"sqlite:///{path}", synchronous="normal") as db:
        outputs = OutputNames(db)
        told: dict[tuple[str, str, OutputFile, bool], OutputFile] = {}
        holders: dict[OutputFile, set[tuple[str, str]]] = defaultdict(set)
        for job, (runner, files, fresh) in enumerate(jobs):
            if job == reload_after:
                outputs = await reloaded(db)
            wanted = [image(name) for name in files]
            public = await outputs.assign_all(str(job), runner, wanted, fresh=fresh)
            assert len(set(public)) == len(public)
            assert await outputs.assign_all(str(job), runner, wanted, fresh=fresh) == public
            for own, name in zip(wanted, public, strict=True):
                row = outputs.find(name.type, name.subfolder, name.filename)
                assert (row.runner, row.runner_filename, row.lost) == (runner, own.filename, False)
                assert outputs.of_runner(runner, own) == row
                counted = names.split_counter(own.filename) is not None
                holders[name].add((runner, own.filename, row.generation if counted else 0))
                if fresh and counted:
                    told[str(job), runner, own, fresh] = name
        assert all(len(contents) == 1 for contents in holders.values())
        for known in (outputs, await reloaded(db)):
            for (job_id, runner, own, fresh), name in told.items():
                assert await known.assign_all(job_id, runner, [own], fresh=fresh) == [name]


async def test_a_folder_lists_its_own_files_the_newest_first(db, outputs):
    clock = SimpleNamespace(now=0)

    def tick():
        clock.now += 1
        return clock.now

    outputs = OutputNames(db, clock=SimpleNamespace(wall_ms=tick))
    for name in ("b_00001_.png", "same.png", "a_00001_.png"):
        await assign(outputs, "1", "east", name)
    await outputs.assign_all("1", "east", [image("c.png", "sub")], fresh=True)
    await outputs.assign_all("1", "east", [image("c.png", "", "temp")], fresh=True)
    assert [row.filename for row in outputs.newest("output", "")] == ["a_00001_.png", "same.png", "b_00001_.png"]
    await assign(outputs, "2", "east", "same.png")
    wanted = ["same.png", "a_00001_.png", "b_00001_.png"]
    await outputs.archived(outputs.find("output", "", "b_00001_.png"), "hash", 1)
    assert [row.filename for row in outputs.newest("output", "")] == wanted, "written over, and not only archived"
    assert [row.filename for row in (await reloaded(db)).newest("output", "")] == wanted
    assert [row.filename for row in outputs.newest("output", "sub")] == ["c.png"]
    assert list(outputs.newest("output", "nowhere")) == []


async def test_writer_heard_of_after_a_job_that_had_it_cached(outputs):
    """Two jobs of one graph end while the link is down; the second is looked at first. Both show the one picture."""
    (shown,) = await outputs.assign_all("second", "gpu-0", [image("a_00001_.png")], fresh=False, since=2)
    (written,) = await outputs.assign_all("first", "gpu-0", [image("a_00001_.png")], fresh=True, since=1)
    assert written == shown
    assert outputs.find("output", "", shown.filename) is not None


async def test_the_writer_is_told_from_a_later_job_also_after_a_restart(db, outputs):
    """The gateway is killed after the one, or after both, have their name, and before their ends are written down."""
    (shown,) = await outputs.assign_all("second", "gpu-0", [image("a_00001_.png")], fresh=False, since=2)
    for asked in range(2):
        outputs = await reloaded(db)
        (written,) = await outputs.assign_all("first", "gpu-0", [image("a_00001_.png")], fresh=True, since=1)
        assert written == shown, f"asked for the {asked + 1}. time"
        assert outputs.find("output", "", shown.filename).job_id == "first"
    (again,) = await outputs.assign_all("second", "gpu-0", [image("a_00001_.png")], fresh=False, since=2)
    assert again == shown
    (anew,) = await outputs.assign_all("third", "gpu-0", [image("a_00001_.png")], fresh=True, since=1)
    assert anew != shown


async def test_later_job_writes_a_file_again_that_was_heard_of_as_cached(outputs):
    (shown,) = await outputs.assign_all("a", "gpu-0", [image("a_00001_.png")], fresh=False, since=1)
    (written,) = await outputs.assign_all("b", "gpu-0", [image("a_00001_.png")], fresh=True, since=10**15)
    assert written != shown


class TestOwners:
    async def test_each_owner_counts_for_itself(self, outputs):
        for job, owner in enumerate(("anna", "bert", "anna")):
            await assign(outputs, str(job), f"runner-{job}", "a_00001_.png", owner=owner)
        for owner, listed in (("anna", ["a_00002_.png", "a_00001_.png"]), ("bert", ["a_00001_.png"]), ("cleo", [])):
            assert [row.filename for row in outputs.newest("output", "", owner)] == listed
        assert outputs.find("output", "", "a_00001_.png", "bert").runner == "runner-1"
        assert outputs.find("output", "", "a_00002_.png", "bert") is None
        assert outputs.find("output", "", "a_00001_.png") is None
        assert not outputs.is_taken("output", "", "a_00002_.png", "bert")

    async def test_a_cached_file_of_anothers_job_gets_a_name_of_ones_own(self, db, outputs):
        await assign(outputs, "1", "west", "a_00001_.png", owner="bert")
        await assign(outputs, "2", "east", "a_00007_.png", owner="anna")
        await outputs.archived(outputs.find("output", "", "a_00001_.png", "anna"), "ab" * 32, 7)
        name = await assign(outputs, "3", "east", "a_00007_.png", fresh=False, owner="bert")
        assert name == "a_00002_.png"
        for known in (outputs, await reloaded(db)):
            row = known.find("output", "", name, "bert")
            assert (row.runner, row.runner_filename, row.job_id) == ("east", "a_00007_.png", "3")
            assert (row.content_hash, row.size) == ("ab" * 32, 7)
            assert known.find("output", "", "a_00001_.png", "anna").job_id == "2"
            for owner, wanted in (("anna", "a_00001_.png"), ("bert", name)):
                assert await assign(known, "9", "east", "a_00007_.png", fresh=False, owner=owner) == wanted

    async def test_a_name_without_a_number_is_kept_where_it_is_free(self, outputs):
        for job, (owner, wanted) in enumerate((("anna", "a.png"), ("bert", "a.png"), ("anna", "a_00002_.png"))):
            assert await assign(outputs, str(job), f"runner-{job}", "a.png", owner=owner) == wanted

    async def test_a_file_that_is_written_over_is_lost_to_all_who_had_it(self, db, outputs):
        for file in ("a_00001_.png", "plain.png"):
            await assign(outputs, "1", "east", file, owner="anna")
            await assign(outputs, "2", "east", file, fresh=False, owner="bert")
            await assign(outputs, "3", "east", file, owner="cleo")
            for known in (outputs, await reloaded(db)):
                assert known.find("output", "", file, "anna") is None
                assert known.find("output", "", file, "bert") is None
                assert known.find("output", "", file, "cleo").generation == 2

    async def test_a_copy_is_everyones_who_has_that_file_and_no_ones_whose_file_was_another(self, outputs):
        await assign(outputs, "1", "east", "a_00001_.png", owner="anna")
        old = outputs.find("output", "", "a_00001_.png", "anna")
        await assign(outputs, "2", "east", "a_00001_.png", owner="bert")
        await assign(outputs, "3", "east", "a_00001_.png", fresh=False, owner="cleo")
        await outputs.archived(old, "cd" * 32, 3)
        assert outputs.find("output", "", "a_00001_.png", "anna") is None, "its bytes may be the newer ones"
        await outputs.archived(outputs.find("output", "", "a_00001_.png", "cleo"), "ab" * 32, 7)
        assert [outputs.find("output", "", "a_00001_.png", owner).content_hash for owner in ("bert", "cleo")] == [
            "ab" * 32
        ] * 2
