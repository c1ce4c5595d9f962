"""Runners that answer, but not with what is needed: rate limits, failing handlers, dead workers."""

from support.client import Client
from support.graphs import save_graph
from support.pools import running_pool

from gateway.runners import link
from gateway.runners.runner import RunnerState


async def test_rate_limited_runner_gets_its_prompt_later(tmp_path):
    async with running_pool(tmp_path, 1) as pool, Client.connected(pool.base) as client:
        (simulator,), (runner,) = pool.simulators, list(pool.rooms.pool)
        simulator.faults.update({"status": 429, "path": "/prompt"})
        prompt_id = await client.submit(save_graph(1))
        await pool.until(lambda: not runner.is_ready)
        simulator.faults.clear()
        await client.hear_end(prompt_id)
        assert pool.executed == [prompt_id]


async def test_failing_handler_is_no_verdict_on_the_prompt(tmp_path):
    async with running_pool(tmp_path, 2) as pool, Client.connected(pool.base) as client:
        for simulator in pool.simulators[:1]:
            simulator.faults.update({"status": 500, "path": "/prompt"})
        prompt_id = await client.submit(save_graph(1))
        await client.hear_end(prompt_id)
        assert pool.simulators[1].executed == [prompt_id]


async def test_jobs_of_a_dead_worker_run_elsewhere(tmp_path):
    """HTTP stays healthy; the queue does not move."""
    health = {"interval_seconds": 0.1, "timeout_seconds": 5, "grace_seconds": 30, "stuck_seconds": 0.5}
    async with (
        running_pool(tmp_path, 2, config={"health": health}) as pool,
        Client.connected(pool.base) as client,
    ):
        dead = pool.simulators[0]
        dead.faults.wedge_after = 0
        ids = [await client.submit(save_graph(seed)) for seed in range(4)]
        runner = pool.rooms.pool.get(dead.options.name)
        assert runner is not None
        await pool.until(lambda: runner.health.state is RunnerState.STUCK)
        for prompt_id in ids:
            if "execution_success" not in client.told(prompt_id):
                await client.hear_end(prompt_id)
        assert len(pool.executed) == len(ids)  # the one that was lost has another id on its second runner
        await dead.restart()
        await pool.until(lambda: runner.is_ready)


async def test_a_flapping_runner_is_left_alone_for_a_while_and_then_tried_with_one_job(tmp_path, monkeypatch):
    monkeypatch.setattr(link, "RECONNECT_FIRST_SECONDS", 0.05)
    health = {"interval_seconds": 1, "timeout_seconds": 5, "grace_seconds": 1}
    async with (
        running_pool(tmp_path, 1, config={"health": health}) as pool,
        Client.connected(pool.base) as client,
    ):
        (simulator,), (runner,) = pool.simulators, list(pool.rooms.pool)
        assert runner.capacity == 2
        for _ in range(2):  # it has not stood for the grace time before it is gone again
            life = runner.boot
            simulator.drop_websockets()
            await pool.until(lambda life=life: runner.boot > life)
        await pool.until(lambda: "again and again" in runner.health.reason)
        prompt_id = await client.submit(save_graph(1))
        assert pool.rooms.jobs.registry.held("gpu-0") == 0, "it is given nothing while it is left alone"
        await client.hear_end(prompt_id)
        assert runner.capacity == 1, "on trial"
        await pool.until(lambda: runner.capacity == 2)  # it has stood for the grace time


async def test_a_runner_that_fails_at_prompts_is_tried_with_one_job_until_it_takes_one(tmp_path):
    async with running_pool(tmp_path, 1) as pool, Client.connected(pool.base) as client:
        (simulator,), (runner,) = pool.simulators, list(pool.rooms.pool)
        simulator.faults.lose_prompt_replies = 2
        for seed, capacity in ((1, 2), (2, 1)):  # the first failure costs nothing
            await client.hear_end(await client.submit(save_graph(seed)))
            assert runner.capacity == capacity
            await pool.until(lambda: runner.is_ready)
        await client.hear_end(await client.submit(save_graph(3)))
        assert runner.capacity == 2
        assert len(pool.executed) == 3


async def test_refused_headers_take_a_runner_out_and_its_jobs_go_elsewhere(tmp_path):
    async with running_pool(tmp_path, 2) as pool, Client.connected(pool.base) as client:
        refusing = pool.simulators[0]
        refusing.faults.update({"status": 403})
        runner = pool.rooms.pool.get(refusing.options.name)
        assert runner is not None
        for seed in range(3):
            await client.hear_end(await client.submit(save_graph(seed)))
        await pool.until(lambda: runner.health.state is RunnerState.MISCONFIGURED)
        assert "headers" in runner.health.reason
        assert refusing.executed == []
