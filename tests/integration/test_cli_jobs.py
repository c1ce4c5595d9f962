"""`comfy-gateway jobs` and `comfy-gateway run` against a running gateway, each in a process of its own."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE

import pytest
from support.client import Client
from support.graphs import save_graph
from support.pools import running_pool

UI_FORMAT = {"nodes": [{"id": 1, "type": "SaveImage"}], "links": [], "version": 0.4}


@pytest.fixture
async def pool(tmp_path):
    async with running_pool(tmp_path / "data") as pool:
        yield pool


def hears_ctrl_c():
    """In the new process: tests that a shell runs in the background would hand down that SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Command:
    def __init__(self, pool, folder):
        self.folder = folder
        self.environ = {**os.environ, "COMFY_GATEWAY_URL": pool.base, "COMFY_GATEWAY_TOKEN": ""}

    async def start(self, *arguments):
        program = (sys.executable, "-m", "gateway", *arguments)
        return await asyncio.create_subprocess_exec(
            *program, stdout=PIPE, stderr=PIPE, env=self.environ, cwd=self.folder, preexec_fn=hears_ctrl_c
        )

    async def __call__(self, *arguments, code=0):
        process = await self.start(*arguments)
        stdout, stderr = await process.communicate()
        assert process.returncode == code, (stdout, stderr)
        return (stdout if code == 0 else stderr or stdout).decode()

    def file(self, content, name="workflow.json"):
        (self.folder / name).write_text(json.dumps(content))
        return name


@pytest.fixture
def command(pool, tmp_path):
    return Command(pool, tmp_path)


async def test_a_graph_is_run_and_its_pictures_are_saved(command, pool):
    file = command.file(save_graph(1, prefix="sub/cat"))
    first = (await command("run", file, "--set", "1.color=7", "--set", "2.seed=3")).split()
    assert first == ["output/sub/cat_00001_.png"]
    assert (command.folder / first[0]).read_bytes().startswith(b"\x89PNG")
    (entry,) = (await history(pool)).values()
    assert entry["prompt"][2]["1"]["inputs"]["color"] == 7
    again = (await command("run", file, "--output-dir", "elsewhere")).split()
    assert again == ["elsewhere/sub/cat_00002_.png"]
    (command.folder / "elsewhere/sub/cat_00003_.png").write_text("mine")
    assert (await command("run", file, "--set", "1.color=9", "--output-dir", "elsewhere")).split() == [
        "elsewhere/sub/cat_00003_-1.png"
    ]


async def history(pool):
    async with Client.connected(pool.base) as client:
        return await client.get("/history")


async def test_what_is_wrong_with_a_graph_is_told(command, pool):
    file = command.file(save_graph(1))
    assert "there is no node 9" in await command("run", file, "--set", "9.text=x", code=2)
    assert "has no input text" in await command("run", file, "--set", "1.text=x", code=2)
    assert "Export (API)" in await command("run", command.file(UI_FORMAT, "ui.json"), code=2)
    told = await command("run", file, "--set", "1.width=-1", code=1)
    assert "node 1 (EmptyImage)" in told
    told = await command("run", file, "--tags", "nothing,else", code=0)  # runners without tags take everything
    assert told.endswith(".png\n")
    told = await command("run", file, "--set", "2.fail_at=1", code=1)
    assert "node 2 (ProgressProbe)" in told
    assert len(pool.executed) == 1


async def test_ctrl_c_cancels_the_job(command, pool):
    process = await command.start("run", command.file(save_graph(1, seconds=60, steps=600)))
    await pool.until(lambda: any(job.attempt is not None for job in pool.rooms.jobs.registry))
    process.send_signal(signal.SIGINT)
    await process.communicate()
    assert process.returncode == 130
    await pool.until(lambda: not list(pool.rooms.jobs.registry))
    assert not pool.executed


async def test_a_run_outlives_a_lost_websocket(command, pool):
    process = await command.start("run", command.file(save_graph(1, seconds=3)))
    await pool.until(lambda: bool(list(pool.rooms.jobs.registry)))
    await pool.until(lambda: next(iter(pool.rooms.jobs.registry)).state == "running")
    await pool.rooms.hub.close()
    stdout, stderr = await process.communicate()
    assert process.returncode == 0, stderr
    assert stdout.decode().endswith(".png\n")


async def test_jobs_are_listed_shown_and_cancelled(command, pool):
    async with Client.connected(pool.base) as client:
        done = await client.submit(save_graph(1))
        await client.hear_end(done)
        failed = await client.submit(save_graph(2, fail_at=1))
        await client.hear_end(failed)
        running = await client.submit(save_graph(3, seconds=60, steps=600))
        await client.hear_until("execution_start", prompt_id=running)
    table = await command("jobs", "list")
    status = {line.split()[0]: line.split()[1] for line in table.splitlines()[1:]}
    assert status == {done: "completed", failed: "failed", running: "in_progress"}
    told = json.loads(await command("jobs", "list", "--json", "--status", "completed", "--limit", "1"))
    assert [each["id"] for each in told["jobs"]] == [done]
    story = await command("jobs", "show", running)
    assert story.startswith(f"Job {running} is running on gpu-")
    assert "attempt 1 on gpu-" in story
    assert json.loads(await command("jobs", "show", done, "--json"))["state"] == "completed"
    assert "nothing" in await command("jobs", "show", "nothing", code=1)
    assert await command("jobs", "cancel", running) == f"Job {running} is cancelled.\n"
    await pool.until(lambda: not list(pool.rooms.jobs.registry))
    assert "neither waits nor runs" in await command("jobs", "cancel", done, code=1)
    assert "status" in await command("jobs", "list", "--status", "unheard-of", code=1)
