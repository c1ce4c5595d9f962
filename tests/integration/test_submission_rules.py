"""What a submission may say, what of it reaches the runner, and what is never shown or stored."""

import uuid

import pytest
from support.busy import fill, hear_ends, queue_of, resume
from support.client import Client
from support.graphs import save_graph
from support.pools import running_pool

VERSIONS = pytest.mark.parametrize("version", ["0.33.0", "0.3.64"])
SECRETS = {"api_key_comfy_org": "s3cret-key", "auth_token_comfy_org": "s3cret-token"}


@VERSIONS
@pytest.mark.parametrize("prompt_id", ["0c5f7a3e-9d0b-4b58-a1f6-2f4f5f1c9e07", "my own / name #1 ü", "x" * 128])
async def test_a_client_may_choose_its_id(tmp_path, version, prompt_id):
    async with (
        running_pool(tmp_path, 1, options=[{"version": version}]) as pool,
        Client.connected(pool.base) as client,
    ):
        assert await client.submit(save_graph(1), prompt_id=prompt_id) == prompt_id
        await client.hear_end(prompt_id)
        assert client.told(prompt_id)[0] == "execution_start"
        assert list(await client.get("/history")) == [prompt_id]
        (runners_id,) = pool.executed
        assert str(uuid.UUID(runners_id)) == runners_id
        if runners_id != prompt_id:
            assert not any(runners_id in str(frame) for frame in client.heard)
            assert runners_id not in str(await client.get("/history"))


@pytest.mark.parametrize("prompt_id", ["", "x" * 129, 7, [], {}])
async def test_what_is_no_id_is_refused(tmp_path, prompt_id):
    async with running_pool(tmp_path, 1) as pool, Client.connected(pool.base) as client:
        status, answer = await client.post("/prompt", {"prompt": save_graph(1), "prompt_id": prompt_id})
        assert (status, answer["error"]["type"]) == (400, "invalid_prompt_id")
        assert pool.executed == []


async def test_an_id_is_never_run_twice(tmp_path):
    async with running_pool(tmp_path, 2) as pool, Client.connected(pool.base) as client:
        busy = await fill(pool, client)
        waiting = await client.submit(save_graph(1), prompt_id="waiting")
        deleted = await client.submit(save_graph(2), prompt_id="deleted")
        await client.post("/queue", {"delete": [deleted]})
        for prompt_id in (busy[0], waiting, deleted):
            status, answer = await client.post("/prompt", {"prompt": save_graph(3), "prompt_id": prompt_id})
            assert status == 400
            assert answer["node_errors"] == {}
        resume(pool)
        await hear_ends(client, [*busy, waiting])
        await client.post("/history", {"delete": [waiting]})
        for prompt_id in (busy[0], waiting):
            status, _ = await client.post("/prompt", {"prompt": save_graph(3), "prompt_id": prompt_id})
            assert status == 400
        assert len(pool.executed) == len(busy) + 1


@VERSIONS
@pytest.mark.parametrize("extra_data", [None, [], [1], 3, "x", True])
async def test_extra_data_that_is_no_object_wedges_no_runner(tmp_path, version, extra_data):
    async with (
        running_pool(tmp_path, 1, options=[{"version": version}]) as pool,
        Client.connected(pool.base) as client,
    ):
        prompt_id = await client.submit(save_graph(1), extra_data=extra_data)
        await client.hear_end(prompt_id)
        after = await client.submit(save_graph(2))
        await client.hear_end(after)
        assert pool.simulators[0].state.wedged is None


@VERSIONS
async def test_secrets_reach_the_runner_and_are_nowhere_else(tmp_path, version):
    async with (
        running_pool(tmp_path, 1, options=[{"version": version}]) as pool,
        Client.connected(pool.base) as client,
    ):
        (simulator,) = pool.simulators
        seen = []
        execute = simulator.state.executor.execute

        async def watched(item):
            seen.append({**item[3], **(item[5] if len(item) > 5 else {})})
            return await execute(item)

        simulator.state.executor.execute = watched
        await fill(pool, client)
        prompt_id = await client.submit(save_graph(1), extra_data={"mine": 1, **SECRETS})
        shown = [await client.get("/queue"), await client.get("/api/jobs"), await client.get(f"/api/jobs/{prompt_id}")]
        assert (await queue_of(client))[1][-1] == prompt_id
        resume(pool)
        await client.hear_end(prompt_id)
        shown += [
            await client.get("/history"),
            await client.get("/api/jobs"),
            await client.get(f"/api/jobs/{prompt_id}"),
            client.heard,
        ]
        assert "'mine': 1" in str(shown[0])
        assert "s3cret" not in str(shown)
        assert seen[-1] | SECRETS == seen[-1], "the runner has them"
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert prompt_id.encode() in stored
    assert b"s3cret" not in stored


async def test_the_client_id_that_a_runner_is_told_is_the_links(tmp_path):
    async with running_pool(tmp_path, 1) as pool, Client.connected(pool.base) as client:
        prompt_id = await client.submit(save_graph(1), extra_data={"client_id": "ignored"})
        await client.hear_end(prompt_id)
        item = pool.simulators[0].state.queue.history[prompt_id]["prompt"]
        (runner,) = pool.rooms.pool
        assert item[3]["client_id"] == runner.link.sid != client.sid
        assert (await client.history(prompt_id))["prompt"][3]["client_id"] == client.sid
