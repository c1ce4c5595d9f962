"""What goes wrong with a runner on demand goes wrong as it would with a real one, and comes right again."""

import asyncio
from typing import Any

import aiohttp
import pytest

PROMPT = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 1}},
    "2": {
        "class_type": "ProgressProbe",
        "inputs": {"image": ["1", 0], "steps": 4, "seconds": 0, "seed": 1, "fail_at": -1},
    },
    "3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
}


async def post(session: Any, runner: Any, **body: Any) -> str:
    async with session.post(f"{runner.url}/prompt", json={"prompt": PROMPT, **body}) as response:
        assert response.status == 200
        return (await response.json())["prompt_id"]


async def get(session: Any, runner: Any, path: str) -> Any:
    async with session.get(runner.url + path) as response:
        return await response.json()


async def test_refuse_closes_the_port_while_the_worker_goes_on(runner: Any, session: Any) -> None:
    prompt_id = await post(session, runner)
    await runner.refuse()
    with pytest.raises(aiohttp.ClientConnectorError):
        await get(session, runner, "/prompt")
    await runner.idle()
    await runner.accept()
    assert prompt_id in await get(session, runner, "/history")


async def test_hang_answers_once_it_is_over(runner: Any, session: Any) -> None:
    runner.faults.hang = True
    waiting = asyncio.create_task(get(session, runner, "/prompt"))
    assert (await get(session, runner, "/simulator/state"))["faults"]["hang"] is True
    assert not waiting.done()
    runner.faults.hang = False
    assert await waiting == {"exec_info": {"queue_remaining": 0}}


async def test_http_faults_can_be_limited_to_a_path(runner: Any, session: Any) -> None:
    runner.faults.update({"status": 503, "path": "/history"})
    async with session.get(f"{runner.url}/api/history") as response:
        assert response.status == 503
    assert await get(session, runner, "/prompt")


async def test_a_lost_reply_leaves_the_prompt_queued(runner: Any, session: Any) -> None:
    runner.faults.lose_prompt_replies = 1
    with pytest.raises(aiohttp.ClientError):
        await post(session, runner)
    await runner.idle()
    assert len(runner.executed) == 1
    await post(session, runner)


async def test_dropped_websockets_end_without_a_close_frame(runner: Any, session: Any) -> None:
    socket = await session.ws_connect(f"{runner.url}/ws?clientId=a")
    await socket.receive()
    assert runner.drop_websockets() == 1
    message = await socket.receive()
    assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
    assert socket.close_code in (None, 1006)


async def test_refused_websockets(runner: Any, session: Any) -> None:
    runner.faults.refuse_websockets = True
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await session.ws_connect(f"{runner.url}/ws")


async def test_muted_websockets_stay_open_and_say_nothing(runner: Any, session: Any) -> None:
    socket = await session.ws_connect(f"{runner.url}/ws?clientId=a")
    await socket.receive()
    runner.faults.mute_websockets = True
    await post(session, runner, client_id="a")
    await runner.idle()
    await runner.state.sockets.sent()
    runner.faults.mute_websockets = False
    runner.state.sockets.send("first", {})
    assert (await socket.receive_json())["type"] == "first"


async def test_dying_in_a_job_forgets_everything(runner: Any, session: Any) -> None:
    done = await post(session, runner)
    await runner.idle()
    runner.faults.die_after = 0
    async with session.post(f"{runner.url}/prompt", json={"prompt": different()}) as response:
        assert response.status == 200
    await runner.died.wait()
    with pytest.raises(aiohttp.ClientConnectorError):
        await get(session, runner, "/prompt")
    port = runner.port
    await runner.restart()
    assert runner.port == port
    assert await get(session, runner, "/history") == {}
    assert await get(session, runner, "/queue") == {"queue_running": [], "queue_pending": []}
    assert runner.executed == [done]


async def test_a_wedged_worker_stands_behind_healthy_http(runner: Any, session: Any) -> None:
    runner.faults.wedge_after = 2
    prompt_id = await post(session, runner)
    await wedged(runner)
    await post(session, runner)
    queue = await get(session, runner, "/queue")
    assert [item[1] for item in queue["queue_running"]] == [prompt_id]
    assert len(queue["queue_pending"]) == 1
    await runner.restart()
    await post(session, runner)
    await runner.idle()


@pytest.mark.parametrize("version", ["0.3.64"])
async def test_null_extra_data_kills_the_old_worker(make_runner: Any, session: Any, version: str) -> None:
    runner = await make_runner(version=version)
    prompt_id = await post(session, runner, extra_data=None)
    await wedged(runner)
    assert (await get(session, runner, "/queue"))["queue_running"][0][1] == prompt_id


async def test_null_extra_data_is_a_500_of_the_new_one(runner: Any, session: Any) -> None:
    async with session.post(f"{runner.url}/prompt", json={"prompt": PROMPT, "extra_data": None}) as response:
        assert response.status == 500
    assert runner.state.number == 1


async def test_restart_without_forgetting_runs_the_job_again(runner: Any, session: Any) -> None:
    runner.pause(after=2)
    prompt_id = await post(session, runner)
    await runner.held()
    await runner.restart(forget=False)
    runner.resume()
    await runner.idle()
    assert runner.executed == [prompt_id]


async def test_a_node_fails_on_demand_as_out_of_memory(runner: Any, session: Any) -> None:
    runner.faults.fail_node("ProgressProbe", "torch.OutOfMemoryError", "no memory left")
    prompt_id = await post(session, runner)
    await runner.idle()
    event, data = (await get(session, runner, "/history"))[prompt_id]["status"]["messages"][-1]
    assert event == "execution_error"
    assert (data["exception_type"], data["node_id"]) == ("torch.OutOfMemoryError", "2")
    assert runner.executed == []
    await post(session, runner)
    await runner.idle()
    assert len(runner.executed) == 1


async def test_an_interrupt_gets_through_to_a_held_job(runner: Any, session: Any) -> None:
    runner.pause(after=3)
    prompt_id = await post(session, runner)
    await runner.held()
    async with session.post(f"{runner.url}/api/jobs/{prompt_id}/cancel") as response:
        assert await response.json() == {"cancelled": True}
    await runner.idle()
    assert (await get(session, runner, f"/api/jobs/{prompt_id}"))["status"] == "cancelled"


async def test_the_deaf_bug(make_runner: Any, session: Any) -> None:
    for name, deaf in (("faithful", True), ("cured", False)):
        runner = await make_runner(name=name, deaf_bug=deaf)
        old = await session.ws_connect(f"{runner.url}/ws?clientId=a")
        new = await session.ws_connect(f"{runner.url}/ws?clientId=a")
        await new.receive()
        await old.close()
        assert ("a" in runner.state.sockets) is not deaf


async def test_control_over_http(runner: Any, session: Any) -> None:
    async def control(action: str, **body: Any) -> int:
        async with session.post(f"{runner.url}/simulator/{action}", json=body) as response:
            return response.status

    assert await control("pause", after=1) == 200
    prompt_id = await post(session, runner)
    await runner.held()
    assert (await get(session, runner, "/simulator/state"))["held"] is True
    assert await control("resume") == 200
    await runner.idle()
    assert (await get(session, runner, "/simulator/state"))["executed"] == {prompt_id: 1}
    assert await control("faults", nonsense=1) == 400
    assert await control("faults", delay=0.001) == 200
    assert runner.faults.delay == 0.001
    assert await control("faults", clear=True) == 200
    assert runner.faults.delay == 0
    assert await control("die") == 200
    await runner.died.wait()


async def wedged(runner: Any) -> None:
    """Wait for the worker's end."""
    await asyncio.wait([task for task in runner.tasks if "worker" in task.get_name()])
    assert runner.state.wedged


def different() -> dict[str, Any]:
    """A prompt that the cache does not know."""
    return {**PROMPT, "1": {**PROMPT["1"], "inputs": {**PROMPT["1"]["inputs"], "color": 2}}}
