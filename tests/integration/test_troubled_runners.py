"""Runners that answer, but not with what is needed: rate limits, failing handlers, dead workers."""

from support.client import Client
from support.graphs import save_graph
from support.pools import running_pool

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
