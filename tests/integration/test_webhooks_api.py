"""The log of deliveries, replays, signing secrets, and the webhook of a token."""

import asyncio
import contextlib
import json

import sqlalchemy
from support.client import Client
from support.graphs import save_graph
from support.pools import running_pool
from support.receivers import ALLOWED, FAST, receiving
from support.v1 import call, create, v1_pool

from gateway.access.token import Token
from gateway.jobs.hooks import Event, Hook

CONFIG = {**ALLOWED, "webhooks": FAST}
TOKENS = {**CONFIG, "access": {"mode": "tokens"}}
DELIVERIES = "/gateway/api/webhooks/deliveries"
SECRET = "/gateway/api/webhooks/secret"


@contextlib.asynccontextmanager
async def asking(pool, owner, *scopes, **more):
    wanted = Token("", f"{owner}'s", owner, frozenset(scopes or {"run"}), 0, **more)
    _, secret = await pool.rooms.access.tokens.create(wanted)
    async with Client.connected(pool.base, token=secret) as client:
        yield client


def hooked(url, *events):
    return {"extra_data": {"gateway": {"webhook": {"url": url, "events": events} if events else url}}}


async def test_every_message_is_signed_with_the_secret_that_was_shown(tmp_path):
    async with receiving() as receiver, running_pool(tmp_path, config=CONFIG) as pool, Client.connected(pool.base) as c:
        assert await c.get(SECRET) == {"created_at": None, "previous_until": None}
        status, made = await c.post(SECRET)
        assert status == 201
        receiver.secret = made["secret"]
        assert receiver.secret.startswith("whsec_")
        await c.submit(save_graph(1), **hooked(receiver.url))
        await receiver.until(lambda: receiver.ended() == 1)
        assert "secret" not in await c.get(SECRET)
        status, newer = await c.post(SECRET)
        assert newer["previous_until"] is not None
        await c.submit(save_graph(2), **hooked(receiver.url))
        await receiver.until(lambda: receiver.ended() == 2)  # the old one signs too
        receiver.secret = newer["secret"]
        await c.submit(save_graph(3), **hooked(receiver.url))
        await receiver.until(lambda: receiver.ended() == 3)
        rows = await pool.rooms.db.read(sqlalchemy.text("SELECT sealed FROM webhook_secrets"))
        assert newer["secret"].encode() not in rows[0][0]


async def test_a_wrong_secret_does_not_verify(tmp_path):
    async with receiving() as receiver, running_pool(tmp_path, config=CONFIG) as pool, Client.connected(pool.base) as c:
        receiver.secret = "whsec_" + "A" * 43 + "="
        job = await c.submit(save_graph(1), **hooked(receiver.url, "completed"))
        await receiver.until(lambda: receiver.forged > 0)
        assert not receiver.taken
        _, made = await c.post(SECRET)
        receiver.secret = made["secret"]
        await receiver.until(lambda: receiver.of(job) == ["completed"])


async def test_the_log_is_read_page_by_page_and_replayed(tmp_path):
    async with receiving() as receiver, running_pool(tmp_path, config=CONFIG) as pool, Client.connected(pool.base) as c:
        jobs = [await c.submit(save_graph(n), **hooked(receiver.url, "created", "completed")) for n in range(3)]
        await receiver.until(lambda: receiver.ended() == 3)
        await pool.until(lambda: not pool.rooms.webhooks.waiting)
        page = await c.get(DELIVERIES, limit=4)
        rest = await c.get(DELIVERIES, limit=4, before=page["next"])
        assert [len(page["deliveries"]), len(rest["deliveries"]), rest["next"]] == [4, 2, None]
        of_one = (await c.get(DELIVERIES, job=jobs[0], state="delivered"))["deliveries"]
        assert [each["event"] for each in of_one] == ["completed", "created"]
        assert (await c.get(DELIVERIES, state="given_up"))["deliveries"] == []
        whole = await c.get(f"{DELIVERIES}/{of_one[0]['id']}")
        assert whole["body"]["type"] == "job.completed"
        assert (whole["state"], whole["status"], whole["attempts"]) == ("delivered", 200, 1)
        status, replay = await c.post(f"{DELIVERIES}/{of_one[0]['id']}/replay")
        assert status == 202
        assert replay["message_id"] == of_one[0]["message_id"] != replay["id"]
        await receiver.until(lambda: len(receiver.taken) == 7)
        assert receiver.ids[-1] == of_one[0]["message_id"]
        assert receiver.taken[-1] == whole["body"]
        status, _ = await c.post(f"{DELIVERIES}/nothing/replay")
        assert status == 404
        await c.get(DELIVERIES, status=400, state="unheard-of")


async def test_times_are_milliseconds(tmp_path):
    patient = {**FAST, "first_retry_seconds": 60, "longest_retry_seconds": 60}
    config = {**ALLOWED, "webhooks": patient}
    async with receiving() as receiver, running_pool(tmp_path, config=config) as pool, Client.connected(pool.base) as c:
        began = pool.rooms.clock.wall_ms()
        receiver.answers = lambda message: 503 if message["type"] == "job.completed" else 200
        await c.submit(save_graph(1), **hooked(receiver.url, "created", "completed"))
        await pool.until(lambda: pool.rooms.webhooks.failed_tries == 1)
        waits, ended = (await c.get(DELIVERIES))["deliveries"]
        await c.post(SECRET)
        _, secret = await c.post(SECRET)
        now = pool.rooms.clock.wall_ms()
        for time in (waits["created_at"], ended["created_at"], ended["ended_at"], secret["created_at"]):
            assert began <= time <= now
        assert (waits["ended_at"], ended["next_at"]) == (None, None)
        assert now < waits["next_at"] <= now + 60_000
        assert now < secret["previous_until"] <= now + 86_400_000


async def test_metrics_tell_what_is_delivered_and_what_waits(tmp_path):
    hurry = {**FAST, "give_up_hours": 0.2 / 3_600}
    config = {**ALLOWED, "webhooks": hurry}

    async def told(client):
        async with client.http.get(f"{client.base}/gateway/metrics") as answer:
            lines = (await answer.text()).splitlines()
        values = dict(line.rsplit(" ", 1) for line in lines if line.startswith("comfy_gateway_webhook_"))
        return {name.removeprefix("comfy_gateway_webhook_"): float(value) for name, value in values.items()}

    delivered, given_up = (f'deliveries_ended_total{{state="{state}"}}' for state in ("delivered", "given_up"))
    async with receiving() as receiver, running_pool(tmp_path, config=config) as pool, Client.connected(pool.base) as c:
        assert await told(c) == {
            delivered: 0,
            given_up: 0,
            "failed_tries_total": 0,
            "waiting": 0,
            "oldest_seconds": 0,
        }
        await c.submit(save_graph(1), **hooked(receiver.url, "completed"))
        await receiver.until(lambda: receiver.ended() == 1)
        await pool.until(lambda: not pool.rooms.webhooks.waiting)
        assert (await told(c))[delivered] == 1
        receiver.hold = asyncio.Event()
        await c.submit(save_graph(2), **hooked(receiver.url, "completed"))
        await pool.until(lambda: receiver.tries == 2)
        found = await told(c)
        assert found["waiting"] == 1
        assert 0 < found["oldest_seconds"] < 60
        receiver.answers = lambda _message: 500
        receiver.hold.set()
        await pool.until(lambda: not pool.rooms.webhooks.waiting)
        await pool.rooms.db.flushed()
        found = await told(c)
        assert (found[delivered], found[given_up], found["waiting"]) == (1, 1, 0)
        assert found["failed_tries_total"] == receiver.tries - 1


async def test_what_was_given_up_says_why_and_can_be_replayed(tmp_path):
    hurry = {**FAST, "give_up_hours": 0.5 / 3_600}
    async with (
        receiving() as receiver,
        running_pool(tmp_path, config={**ALLOWED, "webhooks": hurry}) as pool,
        Client.connected(pool.base) as c,
    ):
        receiver.answers = lambda _message: 500
        job = await c.submit(save_graph(1), **hooked(receiver.url, "completed"))
        await c.hear_end(job)
        await pool.until(lambda: receiver.tries > 0 and not pool.rooms.webhooks.waiting)
        (given_up,) = (await c.get(DELIVERIES, state="given_up"))["deliveries"]
        assert (given_up["status"], given_up["error"]) == (500, "answered 500")
        receiver.answers = lambda _message: 200
        await c.post(f"{DELIVERIES}/{given_up['id']}/replay")
        await receiver.until(lambda: receiver.of(job) == ["completed"])


async def test_owners_see_their_own_deliveries_and_admins_all(tmp_path):
    async with (
        receiving() as receiver,
        running_pool(tmp_path, config=TOKENS) as pool,
        asking(pool, "ada") as ada,
        asking(pool, "bob") as bob,
        asking(pool, "root", "admin") as root,
    ):
        await ada.submit(save_graph(1), **hooked(receiver.url, "completed"))
        await receiver.until(lambda: receiver.ended() == 1)
        (mine,) = (await ada.get(DELIVERIES))["deliveries"]
        assert (await bob.get(DELIVERIES))["deliveries"] == []
        await bob.get(f"{DELIVERIES}/{mine['id']}", status=404)
        status, _ = await bob.post(f"{DELIVERIES}/{mine['id']}/replay")
        assert status == 404
        assert (await root.get(DELIVERIES))["deliveries"][0]["id"] == mine["id"]
        _, of_ada = await ada.post(SECRET)
        _, of_bob = await bob.post(SECRET)
        assert of_ada["secret"] != of_bob["secret"]


async def test_the_webhook_of_a_token_hears_of_all_of_its_jobs(tmp_path):
    async with receiving() as receiver, receiving() as own, running_pool(tmp_path, config=TOKENS) as pool:
        hook = Hook(receiver.url, (Event.COMPLETED,))
        async with asking(pool, "ada", webhook=hook) as ada, asking(pool, "bob") as bob:
            await bob.submit(save_graph(1))
            job = await ada.submit(save_graph(2), **hooked(own.url, "started"))
            await receiver.until(lambda: receiver.ended() == 1)
            assert receiver.by_job() == {job: ["completed"]}
            await own.until(lambda: own.of(job) == ["started"])


async def test_the_webhook_of_a_token_is_set_over_http(tmp_path):
    async with (
        receiving() as receiver,
        running_pool(tmp_path, config=TOKENS) as pool,
        asking(pool, "root", "admin") as root,
    ):
        status, made = await root.post("/gateway/api/tokens", {"name": "ada", "webhook": receiver.url})
        assert status == 201, made
        assert made["webhook"] == {"url": receiver.url, "events": [event.value for event in Event]}
        path = f"/gateway/api/tokens/{made['id']}"
        body = {"webhook": {"url": receiver.url, "events": ["failed"]}}
        async with root.http.patch(root.base + path, json=body) as answer:
            assert (await answer.json())["webhook"] == {"url": receiver.url, "events": ["failed"]}
        async with root.http.patch(root.base + path, json={"webhook": None}) as answer:
            assert (await answer.json())["webhook"] is None
        status, refused = await root.post("/gateway/api/tokens", {"name": "eve", "webhook": "http://169.254.169.254/"})
        assert status == 400
        assert "webhook" in refused["error"]["extra_info"]["fields"]


async def test_workflows_and_templates_take_a_webhook(tmp_path):
    async with receiving() as receiver, v1_pool(tmp_path, config=CONFIG) as pool, Client.connected(pool.base) as c:
        first = await create(c, save_graph(1), webhook=receiver.url)
        await receiver.until(lambda: receiver.of(first) == ["created", "started", "completed"])
        only_ends = json.dumps({"url": receiver.url, "events": ["completed"]})
        again = await call(c, "POST", f"/v1/workflow/{first}/rerun", 201, fields={"webhook": only_ends})
        await receiver.until(lambda: receiver.of(again["id"]) == ["completed"])
        fields = {"name": "t", "description": "d", "body": json.dumps(save_graph(2))}
        template = await call(c, "POST", "/v1/template", 201, fields=fields)
        run = await call(c, "POST", f"/v1/template/{template['id']}/run", 201, fields={"webhook": receiver.url})
        await receiver.until(lambda: receiver.of(run["id"])[-1:] == ["completed"])
        wrong = save_graph(1) | {"1": {"class_type": "NoSuchNode", "inputs": {}}}
        refused = await create(c, wrong, webhook=receiver.url)
        await receiver.until(lambda: receiver.of(refused) == ["failed"])
        error = receiver.taken[-1]["data"]["error"]
        assert error["type"]
        assert error["message"]
        for wrong in ("ftp://example.com", "{}", "{", "http://169.254.169.254/"):
            fields = {"name": "x", "workflow_json": json.dumps(save_graph(1)), "webhook": wrong}
            told = await call(c, "POST", "/v1/workflow", 400, fields=fields)
            assert told["message"].startswith("webhook ")
