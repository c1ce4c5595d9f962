"""Webhooks of jobs over simulated runners: what is told, in which order, to receivers that work and that do not."""

import asyncio
import json

from support.client import Client
from support.graphs import save_graph
from support.pools import gateway_over, running_pool
from support.receivers import ALLOWED, FAST, receiving

CONFIG = {**ALLOWED, "webhooks": FAST}


def hooked(url, events=None):
    return {"extra_data": {"gateway": {"webhook": url if events is None else {"url": url, "events": events}}}}


async def test_a_job_is_told_from_its_creation_to_its_end(tmp_path):
    async with receiving() as receiver, running_pool(tmp_path, config=CONFIG) as pool, Client.connected(pool.base) as c:
        job = await c.submit(save_graph(1, steps=6, seconds=0.6), **hooked(receiver.url))
        await receiver.until(lambda: receiver.ended() == 1)
        assert receiver.of(job) == ["created", "started", "completed"]
        progress = [each["data"]["progress"] for each in receiver.taken if each["type"] == "job.progress"]
        assert progress
        assert all(0 <= each["value"] <= 1 and each["nodes"] == 3 for each in progress)
        end = receiver.taken[-1]["data"]
        assert end["state"] == "completed"
        (output,) = end["outputs"]
        assert output["node_id"] == "3"
        async with c.http.get(pool.base + output["url"]) as picture:
            assert picture.status == 200
        assert receiver.url not in json.dumps(await c.history(job))
        first = receiver.taken[0]["data"]
        assert (first["state"], first["runner"], first["attempt"], first["outputs"]) == ("pending", None, 0, [])


async def test_failed_and_cancelled_jobs_tell_why(tmp_path):
    async with (
        receiving() as receiver,
        running_pool(tmp_path, count=1, config=CONFIG) as pool,
        Client.connected(pool.base) as c,
    ):
        failed = await c.submit(save_graph(1, fail_at=1), **hooked(receiver.url, ["failed"]))
        await receiver.until(lambda: receiver.ended() == 1)
        assert receiver.of(failed) == ["failed"]
        error = receiver.taken[-1]["data"]["error"]
        assert error["node_id"] == "2"
        assert error["type"]
        running = await c.submit(save_graph(2, seconds=60, steps=600), **hooked(receiver.url))
        waiting = await c.submit(save_graph(3), **hooked(receiver.url))
        await receiver.until(lambda: "started" in receiver.of(running) and receiver.of(waiting) == ["created"])
        await c.post("/queue", {"delete": [waiting]})
        await c.post("/interrupt", {"prompt_id": running})
        await receiver.until(lambda: receiver.ended() == 3)
        assert receiver.of(waiting) == ["created", "cancelled"]
        assert receiver.of(running) == ["created", "started", "cancelled"]


async def test_a_refused_prompt_tells_nothing(tmp_path):
    async with receiving() as receiver, running_pool(tmp_path, config=CONFIG) as pool, Client.connected(pool.base) as c:
        status, _ = await c.post("/prompt", {"prompt": {"1": {"class_type": "SaveImage"}}, **hooked(receiver.url)})
        assert status == 400
        await c.submit(save_graph(1), **hooked(receiver.url))
        await receiver.until(lambda: receiver.ended() == 1)
        assert len(receiver.by_job()) == 1


async def test_a_receiver_that_may_not_be_one_is_refused(tmp_path):
    async with running_pool(tmp_path) as pool, Client.connected(pool.base) as c:
        for hook, words in (
            ("http://127.0.0.1:9/x", "denies"),
            ("ftp://example.com/", "http://"),
            ({"url": "https://example.com", "events": ["nothing"]}, "events"),
            (7, "must be a URL"),
        ):
            status, answer = await c.post(
                "/prompt", {"prompt": save_graph(1), "extra_data": {"gateway": {"webhook": hook}}}
            )
            assert status == 400, answer
            assert answer["error"]["type"] == "invalid_webhook"
            assert words in answer["error"]["details"]
        assert not pool.executed


async def test_a_receiver_that_fails_now_and_then_gets_everything_in_order(tmp_path):
    async with (
        receiving(fails=0.3, seed=7) as receiver,
        running_pool(tmp_path, count=3, config=CONFIG) as pool,
        Client.connected(pool.base) as c,
    ):
        jobs = [await c.submit(save_graph(number, steps=1), **hooked(receiver.url)) for number in range(300)]
        await receiver.until(lambda: receiver.ended() == len(jobs))
        assert receiver.by_job() == {job: ["created", "started", "completed"] for job in jobs}
        assert receiver.tries > len(receiver.taken)


async def test_a_dead_receiver_holds_up_no_other(tmp_path):
    async with (
        receiving() as receiver,
        receiving() as stuck,
        running_pool(tmp_path, config=CONFIG) as pool,
        Client.connected(pool.base) as c,
    ):
        stuck.hold = asyncio.Event()
        for number in range(30):
            await c.submit(save_graph(number), **hooked(stuck.url))
        job = await c.submit(save_graph(99), **hooked(receiver.url))
        await receiver.until(lambda: receiver.of(job) == ["created", "started", "completed"])
        assert not stuck.taken


async def test_what_is_not_delivered_outlives_the_gateway(tmp_path):
    async with receiving() as receiver, running_pool(tmp_path / "first", config=CONFIG) as pool:
        receiver.answers = lambda _message: 500
        async with Client.connected(pool.base) as c:
            job = await c.submit(save_graph(1), **hooked(receiver.url))
            await c.hear_end(job)
            await receiver.until(lambda: receiver.tries > 1)
        simulators, folder = pool.simulators, pool.config.data_dir
        taken = list(receiver.taken)
        assert not taken
        await pool.rooms.webhooks.close()
        receiver.answers = lambda _message: 200
        async with gateway_over(folder.with_name("second"), simulators, config=CONFIG):
            pass  # another gateway's outbox has nothing of it
        assert not receiver.taken
    port = int(receiver.url.split(":")[2].split("/")[0])
    async with receiving(port=port) as again, running_pool(folder, config=CONFIG):
        await again.until(lambda: again.of(job) == ["created", "started", "completed"])


async def test_a_receiver_that_is_gone_is_not_tried_again(tmp_path):
    async with receiving() as receiver, running_pool(tmp_path, config=CONFIG) as pool, Client.connected(pool.base) as c:
        receiver.answers = lambda message: 410 if message["type"] == "job.created" else 200
        job = await c.submit(save_graph(1), **hooked(receiver.url, ["created", "completed"]))
        await receiver.until(lambda: receiver.ended() == 1)
        assert receiver.of(job) == ["completed"]
        assert receiver.tries == 2
