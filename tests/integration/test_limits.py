"""Whoever asks for too much is refused in the words of the API that was called, and harms nobody else."""

from __future__ import annotations

import json
from dataclasses import replace

import aiohttp
import pytest
from support import nodes
from support.client import Client
from support.graphs import save_graph
from support.owners import client_of, guarded_pool, token_of
from support.pools import running_pool

from gateway.access.token import TokenLimits
from gateway.jobs.states import JobState


def pause(pool):
    for simulator in pool.simulators:
        simulator.pause()


def resume(pool):
    for simulator in pool.simulators:
        simulator.resume()


async def refused(http, method, url, **more):
    """The body of a 429 with its Retry-After."""
    async with http.request(method, url, **more) as answer:
        assert answer.status == 429, await answer.text()
        assert int(answer.headers["Retry-After"]) >= 1
        return await answer.json()


class TestRates:
    async def test_each_token_for_itself(self, tmp_path):
        limited = {"limits": {"requests_per_minute": 5}}
        async with guarded_pool(tmp_path, 1, config=limited) as pool:
            tokens = [await token_of(pool, "anna"), await token_of(pool, "anna")]
            tokens.append(await token_of(pool, "bert", limits=TokenLimits(rate=7)))
            async with aiohttp.ClientSession() as http:
                for token, most in zip(tokens, (5, 5, 7), strict=True):
                    headers = {"Authorization": f"Bearer {token}"}
                    for _ in range(most):
                        async with http.get(f"{pool.base}/queue", headers=headers) as answer:
                            assert answer.status == 200
                    told = await refused(http, "POST", f"{pool.base}/prompt", headers=headers, json={})
                    assert (told["error"]["type"], told["node_errors"]) == ("too_many_requests", {})
                    told = await refused(http, "GET", f"{pool.base}/v1/workflow", headers=headers)
                    assert told.keys() == {"status", "message"}
                    async with http.get(f"{pool.base}/gateway/health", headers=headers) as answer:
                        assert answer.status == 200, "open to all, and not counted"

    async def test_each_address_with_and_without_tokens(self, tmp_path):
        limited = {
            "limits": {"requests_per_minute_per_address": 3},
            "server": {"port": 0, "trusted_proxies": ["127.0.0.1"]},
        }
        async with running_pool(tmp_path, 0, config=limited) as pool, aiohttp.ClientSession() as http:
            for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1"):
                headers = {"X-Forwarded-For": address}
                for _ in range(3):
                    async with http.get(f"{pool.base}/queue", headers=headers) as answer:
                        assert answer.status == 200
                await refused(http, "GET", f"{pool.base}/queue", headers=headers)
                for _ in range(5):
                    async with http.get(f"{pool.base}/gateway/ready", headers=headers) as answer:
                        assert answer.status == 503, "load balancers are not counted"
            neighbour = {"X-Forwarded-For": "2001:db8::2"}
            await refused(http, "GET", f"{pool.base}/queue", headers=neighbour)

    async def test_a_wrong_token_is_counted_by_its_address(self, tmp_path):
        limited = {"limits": {"requests_per_minute_per_address": 3}}
        async with guarded_pool(tmp_path, 0, config=limited) as pool, aiohttp.ClientSession() as http:
            for status in (401, 401, 401, 429):
                async with http.get(f"{pool.base}/queue", headers={"X-API-Key": "cgw_" + "x" * 40}) as answer:
                    assert answer.status == status


class TestJobs:
    async def test_pending_jobs(self, tmp_path):
        limited = {"limits": {"pending": 3}}
        async with (
            guarded_pool(tmp_path, 1, config=limited) as pool,
            client_of(pool, "anna") as anna,
            client_of(pool, "bert") as bert,
        ):
            pause(pool)
            jobs = [await anna.submit(save_graph(seed)) for seed in range(3)]
            told = await refused(anna.http, "POST", f"{pool.base}/prompt", json={"prompt": save_graph(4)})
            assert (told["error"]["type"], told["error"]["extra_info"]) == ("queue_full", {"limit": 3})
            await bert.submit(save_graph(5))
            resume(pool)
            for job in jobs:
                await anna.hear_end(job)
            await anna.submit(save_graph(6))

    async def test_running_jobs_wait_and_hold_up_nobody(self, tmp_path):
        """One owner's jobs fill two of three runners at most; the other's go past those that wait."""
        async with guarded_pool(tmp_path, 3, runners={"prefetch": 0}) as pool:
            token = await token_of(pool, "anna", limits=TokenLimits(running=2))
            async with Client.connected(pool.base, token=token) as anna, client_of(pool, "bert") as bert:
                pause(pool)
                hers = [await anna.submit(save_graph(seed)) for seed in range(5)]
                registry = pool.rooms.jobs.registry
                assert registry.held_of_owner("anna") == 2
                assert len(registry.shown(JobState.PENDING, owner="anna")) == 3
                story = await anna.get(f"/gateway/api/jobs/{hers[-1]}")
                assert "as many jobs on runners as it may have" in story["placement"]["reason"]
                his = [await bert.submit(save_graph(10 + seed)) for seed in range(2)]
                assert registry.held_of_owner("bert") == 1
                most = []

                def counted(job, was):
                    most.append(registry.held_of_owner("anna"))

                registry.watchers.append(type("Watcher", (), {"job_turned": staticmethod(counted), **QUIET})())
                resume(pool)
                await pool.until(lambda: not registry.taken)
                assert max(most) == 2
                assert list(await bert.get("/history")) == his
                assert sorted(await anna.get("/history")) == sorted(hers)

    async def test_a_limit_that_is_raised_lets_jobs_go_at_once(self, tmp_path):
        async with guarded_pool(tmp_path, 3, runners={"prefetch": 0}) as pool:
            secret = await token_of(pool, "anna", limits=TokenLimits(running=1))
            async with Client.connected(pool.base, token=secret) as anna:
                pause(pool)
                for seed in range(3):
                    await anna.submit(save_graph(seed))
                registry, tokens = pool.rooms.jobs.registry, pool.rooms.access.tokens
                assert registry.held_of_owner("anna") == 1
                (token,) = tokens.live_of("anna")
                await tokens.change(replace(token, limits=TokenLimits(running=2)))
                assert registry.held_of_owner("anna") == 2
                resume(pool)
                await pool.until(lambda: not registry.taken)

    async def test_what_must_wait_is_validated_all_the_same(self, tmp_path):
        async with guarded_pool(tmp_path, 2, runners={"prefetch": 0}) as pool:
            token = await token_of(pool, "anna", limits=TokenLimits(running=1))
            async with Client.connected(pool.base, token=token) as anna:
                pause(pool)
                await anna.submit(save_graph(1))
                wrong = save_graph(2)
                wrong["3"]["inputs"]["images"] = ["1", 7]
                status, told = await anna.post("/prompt", {"prompt": wrong})
                assert (status, told["error"]["type"]) == (400, "prompt_outputs_failed_validation")
                waits = await anna.submit(save_graph(3))
                registry = pool.rooms.jobs.registry
                assert registry.get(waits).state is JobState.PENDING
                assert (registry.held_of_owner("anna"), registry.get(waits).was_accepted) == (1, True)
                resume(pool)
                await anna.hear_end(waits)


QUIET = {"attempt_turned": staticmethod(lambda attempt, was, reason: None)}


class TestSockets:
    async def test_each_owner_has_so_many(self, tmp_path):
        limited = {"limits": {"sockets": 2}}
        async with guarded_pool(tmp_path, 1, config=limited, options=[{"extra_routes": nodes.ROUTES}]) as pool:
            token = await token_of(pool, "anna")
            headers = {"Authorization": f"Bearer {token}"}
            async with aiohttp.ClientSession(headers=headers) as http, client_of(pool, "bert"):
                first = await http.ws_connect(f"{pool.base}/ws?clientId=a")
                second = await http.ws_connect(f"{pool.base}/ws?clientId=a")  # the same client's counts as well
                for path in ("/ws", "/api/ws", "/tn/chat"):
                    with pytest.raises(aiohttp.WSServerHandshakeError) as late:
                        await http.ws_connect(pool.base + path)
                    assert late.value.status == 429
                    assert late.value.headers["Retry-After"]
                await first.close()
                await pool.until(lambda: pool.rooms.limits._sockets["anna"] == 1)
                chat = await http.ws_connect(f"{pool.base}/tn/chat")
                with pytest.raises(aiohttp.WSServerHandshakeError):
                    await http.ws_connect(f"{pool.base}/ws")
                await second.close()
                await chat.close()
            await pool.until(lambda: not pool.rooms.limits._sockets)


class TestBodies:
    @pytest.mark.parametrize("is_chunked", [False, True])
    @pytest.mark.parametrize("path", ["/prompt", "/userdata/a.json", "/tn/whole", "/settings"])
    async def test_a_tokens_request_is_smaller_than_the_servers(self, tmp_path, path, is_chunked):
        limited = {"limits": {"body_bytes": 10_000}}
        options = [{"extra_routes": nodes.ROUTES}]
        async with (
            guarded_pool(tmp_path, 1, config=limited, options=options) as pool,
            client_of(pool, "anna") as anna,
        ):

            async def chunks():
                for _ in range(11):
                    yield b" " * 1_000

            async with anna.http.post(pool.base + path, data=chunks() if is_chunked else b" " * 11_000) as answer:
                assert (answer.status, "10000" in await answer.text()) == (413, True)
            async with anna.http.post(f"{pool.base}/userdata/a.json", data=b" " * 9_000) as answer:
                assert answer.status == 200

    async def test_uploads(self, tmp_path):
        limited = {"limits": {"body_bytes": 10_000}}
        async with guarded_pool(tmp_path, 0, config=limited) as pool, client_of(pool, "anna") as anna:
            assert (await anna.get("/features"))["max_upload_size"] == 10_000
            for size, status in ((9_000, 200), (11_000, 413)):
                form = aiohttp.FormData()
                form.add_field("image", b"x" * size, filename="a.bin")
                async with anna.http.post(f"{pool.base}/upload/image", data=form) as answer:
                    assert answer.status == status


async def uploaded(client, size, name, path="/upload/image"):
    """The status, and the answer."""
    form = aiohttp.FormData()
    form.add_field("image", b"x" * size, filename=name)
    async with client.http.post(client.base + path, data=form) as answer:
        return answer.status, await answer.text()


class TestStoredBytes:
    async def test_an_upload_that_does_not_fit(self, tmp_path):
        limited = {"limits": {"max_stored_bytes": 10_000}}
        async with (
            guarded_pool(tmp_path, 0, config=limited) as pool,
            client_of(pool, "anna") as anna,
            client_of(pool, "bert") as bert,
        ):
            assert (await uploaded(anna, 9_000, "a.bin"))[0] == 200
            status, text = await uploaded(anna, 1_001, "b.bin")
            told = json.loads(text)
            assert (status, told["error"]["type"], told["node_errors"]) == (507, "storage_full", {})
            assert told["error"]["extra_info"] == {"stored": 9_000, "limit": 10_000}
            assert (await uploaded(bert, 9_000, "a.bin"))[0] == 200
            more = TokenLimits(max_stored_bytes=20_000)
            async with Client.connected(pool.base, token=await token_of(pool, "anna", limits=more)) as generous:
                assert (await uploaded(generous, 10_000, "b.bin"))[0] == 200
                assert (await uploaded(anna, 1_000, "c.bin"))[0] == 200, "the most generous token counts"

    async def test_a_new_picture_is_shown_and_the_oldest_copy_goes(self, tmp_path):
        limited = {"limits": {"max_stored_bytes": 1_024}}
        async with guarded_pool(tmp_path, 1, config=limited) as pool, client_of(pool, "anna") as anna:
            pictures = []
            for seed in range(6):
                job = await anna.submit(save_graph(seed))
                await anna.hear_end(job)
                (outputs,) = (await anna.history(job))["outputs"].values()
                pictures.append(outputs["images"][0])
                async with anna.http.get(f"{pool.base}/view", params=pictures[-1]) as answer:
                    assert answer.status == 200

            def copies():
                return [row for row in pool.rooms.outputs.rows() if row.content_hash is not None]

            await pool.until(lambda: pictures[-1]["filename"] in {row.filename for row in copies()})
            size = copies()[0].size
            await pool.until(lambda: sum(row.size for row in copies()) <= max(1_024, size))
            for picture in pictures:
                async with anna.http.get(f"{pool.base}/view", params=picture) as answer:
                    assert answer.status == 200, "its runner still has it"
