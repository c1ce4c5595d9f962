"""The disk is full, the database is locked, the blob folder cannot be written: clients are told so at once and in
ComfyUI's words, nothing that was accepted is lost, and it goes on by itself."""

import sqlite3
import subprocess
import sys
from contextlib import closing

import aiohttp
import pytest
import yaml
from sqlalchemy import text
from support.client import Client
from support.graphs import save_graph
from support.pools import running_pool
from support.processes import free_port, until

from gateway.storage.database import Database, Operation


def pages(most: int) -> Operation:
    """SQLite's own bound of a file: beyond it a write fails as on a full disk."""
    return Operation(text(f"PRAGMA max_page_count = {most}"))


async def refused(client: Client) -> None:
    async with client.http.post(
        f"{client.base}/prompt", json={"prompt": save_graph(1, note="x" * 200_000)}
    ) as response:
        answer = await response.json()
        assert response.status == 503, answer
        assert int(response.headers["Retry-After"]) > 0
        assert answer["error"]["type"] == "storage_unavailable"
        assert answer["node_errors"] == {}


async def test_a_full_disk(tmp_path):
    async with running_pool(tmp_path, 1) as pool, Client.connected(pool.base) as client:
        pool.simulators[0].pause()
        accepted = [await client.submit(save_graph(seed)) for seed in range(4)]
        await pool.rooms.db.write(pages(1))  # no more than it has
        await refused(client)
        assert (await client.get("/prompt"))["exec_info"]["queue_remaining"] == len(accepted)
        pool.simulators[0].resume()  # ends cannot be written now: they are held, and told
        await pool.rooms.db.write(pages(1 << 30))
        accepted.append(await client.submit(save_graph(9)))
        for prompt_id in accepted:
            await until(lambda prompt_id=prompt_id: client.get(f"/history/{prompt_id}"), "it has ended")
        assert sorted(pool.executed) == sorted(accepted)


async def test_a_locked_database(tmp_path, monkeypatch):
    original = Database.open

    async def impatient(url, *, synchronous="full"):
        return await original(url, synchronous=synchronous, busy_timeout=50)

    monkeypatch.setattr(Database, "open", impatient)
    async with running_pool(tmp_path, 1) as pool, Client.connected(pool.base) as client:
        pool.simulators[0].pause()
        accepted = [await client.submit(save_graph(seed)) for seed in range(3)]
        with closing(sqlite3.connect(pool.rooms.db.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await refused(client)
            pool.simulators[0].resume()
            other.execute("ROLLBACK")
        for prompt_id in accepted:
            await until(lambda prompt_id=prompt_id: client.get(f"/history/{prompt_id}"), "it has ended")
        assert sorted(pool.executed) == sorted(accepted)


async def test_uploads_without_a_blob_folder(tmp_path):
    """A file stands where the folder for blobs has to be: not even root can write there."""
    async with running_pool(tmp_path, 1) as pool, Client.connected(pool.base) as client:
        folder = tmp_path / "blobs"
        folder.rename(tmp_path / "elsewhere") if folder.exists() else None
        folder.write_bytes(b"")
        assert (await upload(client))[0] == 503
        await client.submit(save_graph(1))  # what needs no file goes on
        folder.unlink()
        assert (await upload(client))[0] == 200


async def upload(client: Client) -> tuple[int, str]:
    form = aiohttp.FormData()
    form.add_field("image", b"not much of a picture", filename="a.png", content_type="image/png")
    async with client.http.post(f"{client.base}/upload/image", data=form) as response:
        return response.status, await response.text()


def foreign(path):
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (id INTEGER)")


def damaged(path):
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 8_000)


def newer(path):
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        db.execute("INSERT INTO alembic_version VALUES ('of-the-future')")
        db.commit()


@pytest.mark.parametrize("make", [damaged, foreign, newer, lambda path: path.write_text("no database at all\n" * 99)])
def test_a_database_that_cannot_be_used_ends_the_start(tmp_path, make):
    database, config = tmp_path / "gateway.db", tmp_path / "config.yaml"
    make(database)
    before = database.read_bytes()
    runners = [{"name": "gpu-0", "endpoint": "http://127.0.0.1:9"}]
    config.write_text(yaml.safe_dump({"server": {"port": free_port()}, "data_dir": str(tmp_path), "runners": runners}))
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(config)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1, ended.stderr
    (line,) = ended.stderr.strip().splitlines()
    assert str(database) in line
    assert database.read_bytes() == before
