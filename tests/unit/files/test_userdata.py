"""User data as a room: owners apart, writes streamed and whole, changes one at a time, faults of the disk told."""

import asyncio
import errno

import pytest

from gateway.files import settings, userdata
from gateway.files.user_files import INCOMING, UserDataRefused
from gateway.files.userdata import UserData
from gateway.storage.errors import StorageError


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
async def room(tmp_path):
    room = UserData(tmp_path, multi_user=False)
    await room.open()
    return room


async def chunks(*parts):
    for part in parts:
        await asyncio.sleep(0)
        yield part


async def files_of(room, owner=""):
    return (await room.users(owner)).files_of(None)


async def test_a_body_comes_in_pieces(room, monkeypatch):
    monkeypatch.setattr(userdata, "PIECE", 4)
    files = await files_of(room)
    told = await room.save(files, "w/a.json", chunks(b"ab", b"cdef", b"", b"g"), overwrite=True, full_info=False)
    assert told == "w/a.json"
    assert files.path_of("w/a.json").read_bytes() == b"abcdefg"


async def test_a_body_that_ends_early_changes_nothing(room):
    files = await files_of(room)
    await room.save(files, "a.json", chunks(b"old"), overwrite=True, full_info=False)

    async def cut():
        yield b"new"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await room.save(files, "a.json", cut(), overwrite=True, full_info=False)
    assert files.path_of("a.json").read_bytes() == b"old"
    assert names_in(files.root) == ["a.json"]


async def test_of_many_that_must_not_replace_one_wins(room):
    files = await files_of(room)
    bodies = [str(number).encode() for number in range(20)]
    told = await asyncio.gather(
        *(room.save(files, "a.json", chunks(body), overwrite=False, full_info=False) for body in bodies),
        return_exceptions=True,
    )
    assert told.count("a.json") == 1
    assert all(isinstance(each, UserDataRefused) and each.status == 409 for each in told if each != "a.json")
    assert files.path_of("a.json").read_bytes() == bodies[told.index("a.json")]


async def test_no_setting_is_lost_when_many_change_at_once(room):
    files = await files_of(room)
    await asyncio.gather(*(room.alone(files, settings.change, files, {f"key{n}": n}) for n in range(50)))
    assert await room.call(settings.load, files) == {f"key{n}": n for n in range(50)}


async def test_a_caller_that_goes_away_leaves_no_half_change(room):
    files = await files_of(room)
    changes = [asyncio.create_task(room.alone(files, settings.change, files, {f"key{n}": n})) for n in range(10)]
    await asyncio.sleep(0)
    for change in changes[::2]:
        change.cancel()
    await asyncio.gather(*changes, return_exceptions=True)
    known = await room.call(settings.load, files)
    assert known.items() >= {f"key{n}": n for n in range(1, 10, 2)}.items()


async def test_owners_are_apart(room, tmp_path):
    roots = [(await files_of(room, owner)).root for owner in ("", "a", "b", "../x", "default")]
    assert len(set(roots)) == len(roots)
    assert all(root.is_relative_to(tmp_path) and root.name == "default" for root in roots)
    assert await room.users("a") is await room.users("a")


async def test_a_disk_that_fails_is_told_as_storage(room):
    def fail():
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(StorageError, match="Input/output error"):
        await room.call(fail)


async def test_opening_removes_what_a_crash_left(room, tmp_path):
    (tmp_path / "default").mkdir()
    (tmp_path / "default" / f"{INCOMING}x").write_bytes(b"half")
    await UserData(tmp_path, multi_user=False).open()
    assert names_in(tmp_path / "default") == []


async def test_broken_users_are_told_when_opening(tmp_path):
    (tmp_path / "users.json").write_text("{")
    with pytest.raises(StorageError):
        await UserData(tmp_path, multi_user=True).open()


async def test_an_owner_with_a_token_is_one_user_in_a_folder_of_its_own(tmp_path):
    room = UserData(tmp_path, multi_user=True)
    long, other = "ä" * 300, "ä" * 299 + "b"
    assert (await room.users("")).multi_user
    for owner in ("anna", "..", "a/b", long, other):
        assert not (await room.users(owner)).multi_user
    roots = {(await files_of(room, owner)).root.parent.name for owner in ("anna", "..", "a/b", long, other)}
    assert len(roots) == 5
    assert all(name.startswith("@") and len(name) < 255 and "/" not in name for name in roots)
