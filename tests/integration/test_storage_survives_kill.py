"""A process that is killed while it writes: whatever it was told is committed is there afterwards, in whole groups."""

import asyncio
import signal
import sys

from gateway.storage.database import Database
from gateway.storage.jobs import load_attempts_of_unfinished, load_unfinished

WRITER = """
import asyncio, sys
from gateway.storage.database import Database
from gateway.storage.jobs import AttemptRow, JobRow, insert_attempt, insert_job

async def write(db, n):
    job = JobRow(f"job-{n}", n, n, "", None, "pending", b"{}", b"{}", b"{}", b"[]", n)
    await db.write(insert_job(job), insert_attempt(AttemptRow(f"job-{n}", 1, "r", "p", "s", n)))
    print(f"job-{n}", flush=True)

async def main():
    db = await Database.open(sys.argv[1])
    n = 0
    while True:
        await asyncio.gather(*(write(db, n + i) for i in range(50)))
        n += 50

asyncio.run(main())
"""


async def test_what_was_committed_survives(tmp_path):
    url = f"sqlite:///{tmp_path}/gateway.db"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, url, stdout=asyncio.subprocess.PIPE)
    told = [await process.stdout.readline() for _ in range(500)]
    process.send_signal(signal.SIGKILL)
    rest = await process.stdout.read()
    await process.wait()
    told += [line for line in rest.splitlines(keepends=True) if line.endswith(b"\n")]
    async with await Database.open(url) as db:
        jobs = [job.id for job in await load_unfinished(db)]
        attempts = [attempt.job_id for each in (await load_attempts_of_unfinished(db)).values() for attempt in each]
    assert {line.decode().strip() for line in told} <= set(jobs)
    assert sorted(attempts) == sorted(jobs)
